# Two images from one file:   docker build --target operator .   docker build --target trainer --build-arg DEVICE=gpu .
# `make images` does it with the right arguments, also where there is no registry to pull BASE_IMAGE from.

# Anything with Python 3.11 as `python3`, its venv module and CA certificates.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# For a mirror of the Python package index.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PIP_CACHE_DIR=/var/cache/pip
WORKDIR /build
# pip and strip are here only: nothing of this stage but /opt/finetune gets into an image.
RUN python3 -m venv /opt/build \
 && { command -v strip >/dev/null || { apt-get update -qq && apt-get install -qq --no-install-recommends binutils; }; }
COPY tools/images/install.sh ./

# The project itself, for both images. After a change only this is built again, and its layer is small.
FROM build AS project
COPY requirements/build.txt ./
RUN --mount=type=secret,id=ca --mount=type=cache,target=/var/cache/pip ./install.sh /opt/build build.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY trainer_image trainer_image
RUN ./install.sh project

FROM build AS operator-packages
COPY requirements/operator.txt ./
RUN --mount=type=secret,id=ca --mount=type=cache,target=/var/cache/pip ./install.sh /opt/finetune operator.txt

# What both images are on top of their packages: a user without rights, and places that it may write to.
# In a pod these are volumes and everything else is read-only.
FROM ${BASE_IMAGE} AS runtime
RUN echo 'finetune:x:65532:65532::/home/finetune:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'finetune:x:65532:' >> /etc/group \
 && install -d -o 65532 -g 65532 /home/finetune /scratch /var/lib/keras
# SAFEPATH: no module is ever imported from the folder that something is started in.
ENV PATH=/opt/finetune/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/finetune \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM

FROM runtime AS operator
COPY --from=operator-packages /opt/finetune /opt/finetune
COPY --from=project /opt/finetune/lib /opt/finetune/lib
EXPOSE 8080
ENTRYPOINT ["/opt/finetune/bin/python", "-m", "finetune_operator"]
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="finetune-operator" \
      org.opencontainers.image.description="Runs FineTuneJobs on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

FROM build AS trainer-packages
# cpu, or gpu for NVIDIA's.
ARG DEVICE=cpu
COPY requirements/trainer-${DEVICE}.txt trainer.txt
RUN --mount=type=secret,id=ca --mount=type=cache,target=/var/cache/pip ./install.sh /opt/finetune trainer.txt

# The supervisor is PID 1: it starts training processes, passes signals on and reaps.
FROM runtime AS trainer
COPY --from=trainer-packages /opt/finetune /opt/finetune
COPY --from=project /opt/finetune/lib /opt/finetune/lib
ENV KERAS_HOME=/var/lib/keras
EXPOSE 2222 2223 9090
ENTRYPOINT ["/opt/finetune/bin/python", "-m", "finetune_supervisor"]
ARG DEVICE=cpu
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="finetune-trainer" \
      org.opencontainers.image.description="Staged fine-tuning of image models, one worker of a FineTuneJob (${DEVICE})" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
