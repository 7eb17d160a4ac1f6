# syntax=docker/dockerfile:1
# An image with cign, its encoders for real clips and its server: docs/containers.md.
#
#     docker build -t cign .                        # serves a model: docker run -v RUN:/model ...
#     docker build -t cign:tools --target tools .   # runs any command: docker run cign:tools predict ...
#
# The steps are those of README.md; `python tools/dockerfile.py` compares them.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS tools
LABEL org.opencontainers.image.title="cign" \
      org.opencontainers.image.description="Class-incremental audio-visual learning" \
      org.opencontainers.image.version="0.1.0.dev0" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later"
# Index of PyTorch's builds for the CPU or a version of CUDA; empty: pip's own index.
ARG TORCH_INDEX=""
# Extras of pyproject.toml.
ARG EXTRAS="real,serve"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 cign
WORKDIR /build
# From the layer that changes least to the one that changes most.
RUN pip install torch==2.13.0 ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
RUN pip install --no-deps aisfx==0.1.2
COPY pyproject.toml constraints.txt README.md LICENSE ./
# Dependencies alone: of an empty package, which the next step replaces.
RUN mkdir -p src/cign && touch src/cign/__init__.py && pip install -c constraints.txt ".[$EXTRAS]"
COPY src src
RUN pip install --no-deps --force-reinstall ".[$EXTRAS]"
USER cign
WORKDIR /home/cign
ENTRYPOINT ["cign"]
CMD ["--help"]

FROM tools AS serve
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# The token of the server is read from CIGN_TOKEN, which `docker run` sets.
CMD ["serve", "/model", "--host", "0.0.0.0"]
