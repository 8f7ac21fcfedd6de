"""The frame of the contact sheet: one self-contained page, no script, nothing loaded.

Only HTML that is already escaped goes in; `contact_sheet_cards.py` makes it.
"""

# Nothing may be fetched or run, even if a value slipped through unescaped. Styles are inline
# because each box has its own place.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f1f2f4; --card: #fff; --text: #15171c; --soft: #575e6b; --line: #dcdfe5;
  --stage: #e4e6ea; --bar: #c9d4ea; --ok: #2f6fd0; --none: #a4abb8;
  --bad: #b3261e; --bad-soft: #fdebe9; --focus: #1a56c4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1014; --card: #181b21; --text: #e9ebef; --soft: #a0a8b5; --line: #2b3039;
    --stage: #0a0b0e; --bar: #31415f; --ok: #6ea0f5; --none: #5d6573;
    --bad: #ff9a90; --bad-soft: #3b1b1a; --focus: #8ab4ff;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 400 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums;
}
main, header.top { max-width: 1560px; margin: 0 auto; padding: 0 clamp(16px, 3vw, 40px); }
header.top { padding-top: clamp(24px, 4vw, 48px); }
h1 {
  margin: 0; font-size: clamp(24px, 3.2vw, 36px); line-height: 1.15; font-weight: 680;
  letter-spacing: -.02em; overflow-wrap: anywhere; text-wrap: balance;
}
h2 { margin: 0; font-size: 19px; line-height: 1.3; font-weight: 650; letter-spacing: -.01em; }
h3 { margin: 0; font-size: 14px; line-height: 1.35; font-weight: 620; overflow-wrap: anywhere; }
a { color: inherit; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
code { font: 500 .92em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.soft { color: var(--soft); }
.about { margin: 8px 0 0; color: var(--soft); overflow-wrap: anywhere; }
.about span + span::before { content: "·"; margin: 0 .55em; }

.counts { display: grid; grid-template-columns: repeat(4, auto); justify-content: start;
  gap: 4px clamp(20px, 4vw, 56px); margin: 28px 0 14px; padding: 0; list-style: none; }
.counts b { display: block; font-size: clamp(24px, 3.4vw, 34px); line-height: 1.15;
  font-weight: 640; letter-spacing: -.02em; }
.counts span { color: var(--soft); font-size: 14px; }
.counts span::before { content: ""; display: inline-block; width: 9px; height: 9px;
  margin-right: 7px; border-radius: 50%; background: var(--dot, transparent); }
.counts li:first-child span::before { content: none; }
.counts a { text-decoration: none; display: block; }
.counts a:hover span { text-decoration: underline; }
.ok { --dot: var(--ok); } .none { --dot: var(--none); } .bad { --dot: var(--bad); }
.counts .bad b { color: var(--bad); }
.share { display: flex; gap: 2px; height: 8px; border-radius: 4px; overflow: hidden; }
.share i { background: var(--dot); min-width: 3px; }

.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr));
  gap: 20px 32px; margin: 28px 0 0; align-items: start; }
table { width: 100%; border-collapse: collapse; font-size: 14px; table-layout: fixed; }
caption { text-align: left; font-weight: 650; padding-bottom: 6px; }
td, th { padding: 4px 0; border-top: 1px solid var(--line); font-weight: 400; text-align: left; }
th { width: 46%; padding-right: 12px; overflow-wrap: anywhere; position: relative; }
th:has(.dot) { padding-left: 19px; }
td.n { width: 5.5em; text-align: right; }
.meter { display: block; height: 8px; border-radius: 2px; min-width: 3px;
  background: var(--dot, var(--bar)); }
.dot { position: absolute; left: 0; top: .68em; width: 10px; height: 10px; border-radius: 3px;
  background: var(--c); }
.note { margin: 24px 0 0; padding: 10px 14px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); font-size: 14px; }

section { margin: 40px 0; scroll-margin-top: 16px; }
section > header { display: flex; gap: 10px; align-items: baseline; margin-bottom: 14px; }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden; min-width: 0; }
.stage { margin: 0; display: grid; place-items: center; background: var(--stage);
  aspect-ratio: 4 / 3; overflow: hidden; }
.empty { aspect-ratio: auto; padding: 22px 16px; text-align: center; color: var(--soft);
  font-size: 13px; overflow-wrap: anywhere; }
.empty b { display: block; font-weight: 600; color: var(--text); }
.picture { position: relative; }
.picture img { display: block; width: 100%; height: 100%; }
.box { position: absolute; border: 2px solid var(--c); border-radius: 1px;
  box-shadow: 0 0 0 1px rgb(0 0 0 / .55), inset 0 0 0 1px rgb(0 0 0 / .4); }
.plate { position: absolute; padding: 0 5px; height: 18px; border-radius: 2px;
  background: var(--c); color: var(--t); font-size: 11.5px; line-height: 18px; font-weight: 600;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.name { display: flex; gap: 4px 12px; justify-content: space-between; align-items: baseline; }
.name span { color: var(--soft); font-size: 12.5px; white-space: nowrap; }
.text { padding: 11px 14px 13px; }
.from { margin: 2px 0 0; font-size: 12.5px; color: var(--soft); overflow-wrap: anywhere;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.items { list-style: none; margin: 9px 0 0; padding: 0; font-size: 14px; }
.items li { display: grid; grid-template-columns: auto 1fr auto; gap: 2px 9px; padding: 2px 0;
  align-items: baseline; }
.items .label { overflow-wrap: anywhere; min-width: 0; }
.chip { min-width: 20px; height: 18px; padding: 0 4px; border-radius: 3px; text-align: center;
  background: var(--c); color: var(--t); font-size: 11.5px; line-height: 18px; font-weight: 600; }
.ranked li { grid-template-columns: 1fr auto; }
.ranked li:first-child { font-weight: 650; }
.ranked .meter { grid-column: 1 / -1; height: 4px; }
details > summary { cursor: pointer; font-size: 13px; color: var(--soft); margin-top: 6px; }
details > .items { margin-top: 2px; }
.nothing { margin: 9px 0 0; font-size: 14px; color: var(--soft); }
.why { margin: 10px 0 0; padding: 8px 11px 9px; border-left: 3px solid var(--bad);
  border-radius: 0 6px 6px 0; background: var(--bad-soft); font-size: 14px;
  overflow-wrap: anywhere; }
.gone { margin: 8px 0 0; font-size: 12.5px; color: var(--soft); overflow-wrap: anywhere; }
.why code { display: block; color: var(--bad); font-weight: 650; }
.vector { margin: 11px 0 0; }
.vector img { display: block; width: 100%; image-rendering: pixelated; border-radius: 4px;
  outline: 1px solid var(--line); }
.vector figcaption { margin-top: 6px; font-size: 14px; }
footer { padding: 8px 0 40px; color: var(--soft); font-size: 13px; }
@media (max-width: 560px) {
  .counts { grid-template-columns: 1fr 1fr; gap: 14px 24px; }
  .grid { grid-template-columns: minmax(0, 1fr); }
  .stage { aspect-ratio: auto; }
  section { margin: 32px 0; }
}
@media print {
  body { background: #fff; }
  .card { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def page_html(title: str, header: str, body: str) -> str:
    """Return the page; all three parts are HTML, escaped by whoever made them."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="pyspark-vision contact-sheet">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header class="top">
{header}
</header>
<main>
{body}
</main>
</body>
</html>
"""
