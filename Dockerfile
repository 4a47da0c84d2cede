# The chat page on CPUs. Build: docker build -t looktwice .   Run: docker compose up
FROM python:3.12-slim

# Where a CPU build of torch comes from, for an image without CUDA's libraries: --build-arg TORCH_INDEX=...
ARG TORCH_INDEX=""
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HF_HUB_OFFLINE=1 GRADIO_ANALYTICS_ENABLED=False \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib LOOKTWICE_CACHE=/opt/looktwice LOOKTWICE_DATA=/data

WORKDIR /app
COPY requirements.txt requirements-embedded.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" torch torchvision; fi \
    && pip install -r requirements.txt && pip install --no-deps -r requirements-embedded.txt
COPY . .

# The language model is converted and the examples are drawn once, here: at run time the root is read-only.
RUN useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin looktwice \
    && mkdir -p /data /opt/looktwice \
    && python -c "from assistant import load; load('embedded'); from data.examples import examples as e; e()" \
    && chown looktwice /data && chmod -R a+rX /app /opt/looktwice

USER 1000
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/', timeout=4)"]
CMD ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
