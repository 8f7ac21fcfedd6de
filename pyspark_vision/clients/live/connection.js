// The page's end of the WebSocket: asks for the next message when one is drawn, and comes again.

const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 2000;
const SILENT_AFTER_MS = 4000; // the server says something each second

export class Connection {
  /** draw(told, pictures) is awaited before the next message; changed(isOpen) at each change. */
  constructor(draw, changed) {
    this.draw = draw;
    this.changed = changed;
    this.waitMs = FIRST_WAIT_MS;
    this.heardAt = 0;
    setInterval(() => this.watch(), 1000);
    this.open();
  }

  open() {
    clearTimeout(this.retry);
    const socket = new WebSocket(`ws${location.protocol === "https:" ? "s" : ""}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onopen = () => {
      this.waitMs = FIRST_WAIT_MS;
      this.changed(true);
    };
    socket.onmessage = async (event) => {
      this.heardAt = performance.now();
      try {
        await this.draw(...parts(event.data));
      } finally {
        this.send({ next: true }, socket);
      }
    };
    socket.onclose = () => this.lost(socket);
  }

  /** What is said while nobody listens is not kept: the page says it again when it is open. */
  send(said, socket = this.socket) {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(said));
  }

  lost(socket) {
    if (socket !== this.socket) return;
    this.changed(false);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.open(), this.waitMs);
    this.waitMs = Math.min(LONGEST_WAIT_MS, this.waitMs * 1.6);
  }

  watch() {
    const socket = this.socket;
    if (document.hidden || performance.now() - this.heardAt < SILENT_AFTER_MS) return;
    if (socket.readyState === WebSocket.CLOSED) return;
    socket.onclose = null; // it may take long to close
    socket.close();
    this.lost(socket);
  }
}

/** A message: four bytes of length, JSON, pictures. */
function parts(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const pictures = (told.frames ?? []).map((frame) => {
    if (!frame.has_picture) return null;
    const picture = new Blob([new Uint8Array(buffer, at, frame.bytes)], { type: frame.type });
    at += frame.bytes;
    return picture;
  });
  return [told, pictures];
}
