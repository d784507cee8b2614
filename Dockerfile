# An image of the whole book; the command is `hepred` (docs/clusters.md, "Containers").
#   docker build -t hepred .                                              with CUDA, also runs without a GPU
#   docker build -t hepred --build-arg DEVICE=cpu --build-arg WHEELS=... . smaller; WHEELS: see containers/install.sh
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/study" hepred run studies/mine.yaml
FROM python:3.11-slim-bookworm

ARG DEVICE=cuda
ARG WHEELS=

WORKDIR /opt/hepred
COPY pyproject.toml constraints.txt README.md LICENSE Snakefile data_manifest.csv ./
COPY containers containers
COPY docs docs
COPY hepred_lib hepred_lib
COPY ich_phantom ich_phantom
COPY notebooks notebooks
COPY profiles profiles
COPY studies studies
RUN containers/install.sh "$DEVICE" "$WHEELS" \
    && useradd --create-home --uid 1000 reader \
    && mkdir /study && chown reader /study

# Caches of libraries, which any user may write, whatever number `docker run --user` gives.
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib
USER 1000
WORKDIR /study
ENTRYPOINT ["hepred"]
CMD ["--help"]
