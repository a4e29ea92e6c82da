# gavn in an image; docs/docker.md explains the arguments.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

ARG DEVICE=cuda
ARG TORCH_INDEX=
ARG EXTRAS=web

ENV PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /opt/gavn
COPY constraints.txt requirements-nodeps.txt ./

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# PyPI's torch has CUDA; the builds without it come from TORCH_INDEX. constraints.txt pins what is installed.
# hadolint ignore=DL3013
RUN pip install -c constraints.txt pip setuptools wheel \
    && mapfile -t TORCH < <(grep -E '^(torch|torchvision)==' constraints.txt) \
    && case "$DEVICE" in \
         cuda) pip install -c constraints.txt "${TORCH[@]}" ;; \
         cpu) pip install --index-url "${TORCH_INDEX:?DEVICE=cpu needs TORCH_INDEX}" "${TORCH[@]}" ;; \
         *) echo "DEVICE is cuda or cpu, not $DEVICE" >&2; exit 2 ;; \
       esac

COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE LICENSES.md ./
COPY options options
COPY gavn gavn
# Only training needs BasicSR.
RUN pip install -c constraints.txt ".[$EXTRAS]" \
    && case ",$EXTRAS," in \
         *,train,*) pip install --no-build-isolation --no-deps -r requirements-nodeps.txt ;; \
       esac \
    && useradd --create-home --uid 1000 gavn

USER 1000
WORKDIR /data
ENTRYPOINT ["gavn"]
CMD ["--help"]
