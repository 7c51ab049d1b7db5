# Images of llm-eval; docs/compose.md says how they are built and what of. Targets:
#   airflow    Airflow's components and every stage that loads no weights: no torch
#   inference  every stage, torch and transformers, the command line; no Airflow: for pods, and for people
#   worker     `airflow` with the interpreter of `inference` beside it: for Airflow's workers that load weights
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
# Group 0, as OpenShift and Airflow's own images have it: whoever runs the image may write where its user may.
RUN useradd --uid 50000 --gid 0 --no-log-init --create-home --home-dir /home/llm-eval llm-eval \
 && chmod g=u /home/llm-eval \
 && printf '#!/bin/sh\nexec "${LLM_EVAL_PYTHON:-python}" -m llm_eval "$@"\n' > /usr/local/bin/llm-eval \
 && chmod 755 /usr/local/bin/llm-eval
ENV HOME=/home/llm-eval \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/llm-eval

FROM base AS lists
COPY include/images/wheels /build/wheels
COPY include/images/install.sh include/images/*.in requirements.txt requirements-dev.txt /build/

FROM lists AS airflow-packages
RUN sh /build/install.sh /opt/airflow /opt/llm-eval/sbom/airflow.cdx.json airflow.in

FROM lists AS inference-packages
ARG TORCH_INDEX_URL=
RUN TORCH_INDEX_URL="${TORCH_INDEX_URL}" \
    sh /build/install.sh /opt/inference /opt/llm-eval/sbom/inference.cdx.json inference.in

FROM base AS code
COPY llm_eval /opt/llm-eval/llm_eval
COPY dags /opt/llm-eval/dags
COPY plugins /opt/llm-eval/plugins
COPY include/catalog /opt/llm-eval/include/catalog
COPY include/data /opt/llm-eval/include/data
COPY include/airflow /opt/llm-eval/include/airflow
COPY include/compose /opt/llm-eval/include/compose
COPY include/pools.json include/pod_template.yaml /opt/llm-eval/include/
# Written now: the images' user could not, and each process would compile them anew.
RUN python3 -m compileall -q /opt/llm-eval

FROM base AS inference
COPY --from=inference-packages /opt/inference /opt/inference
COPY --from=inference-packages /opt/llm-eval/sbom /opt/llm-eval/sbom
COPY --from=code /opt/llm-eval /opt/llm-eval
ENV PATH=/opt/inference/bin:$PATH
# A volume laid over this folder begins with its owner.
RUN install -d -o 50000 -g 0 -m 0770 /models
WORKDIR /opt/llm-eval
USER 50000:0
ENTRYPOINT ["python", "-m", "llm_eval"]
CMD ["--help"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="llm-eval inference" \
      org.opencontainers.image.description="Stages of llm-eval with torch and transformers, without Airflow" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      llm-eval.sbom="/opt/llm-eval/sbom"

FROM base AS airflow
COPY --from=airflow-packages /opt/airflow /opt/airflow
COPY --from=airflow-packages /opt/llm-eval/sbom /opt/llm-eval/sbom
COPY --from=code /opt/llm-eval /opt/llm-eval
ENV AIRFLOW_HOME=/var/lib/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/llm-eval/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/llm-eval/plugins \
    PATH=/opt/airflow/bin:$PATH \
    PYTHONPATH=/opt/llm-eval:/opt/llm-eval/include/airflow
# Volumes laid over these folders begin with their owner.
RUN install -d -o 50000 -g 0 -m 0770 /models /var/lib/airflow /var/lib/airflow/logs /var/lib/airflow/login
WORKDIR /opt/llm-eval
USER 50000:0
ENTRYPOINT ["airflow"]
CMD ["version"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="llm-eval airflow" \
      org.opencontainers.image.description="Airflow with llm-eval's DAGs, without torch" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      llm-eval.sbom="/opt/llm-eval/sbom"

FROM airflow AS worker
COPY --from=inference-packages /opt/inference /opt/inference
COPY --from=inference-packages /opt/llm-eval/sbom /opt/llm-eval/sbom
ENV LLM_EVAL_PYTHON=/opt/inference/bin/python
LABEL org.opencontainers.image.title="llm-eval worker" \
      org.opencontainers.image.description="Airflow with llm-eval's DAGs, and an interpreter with torch for its models"
