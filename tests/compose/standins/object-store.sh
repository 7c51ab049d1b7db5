# As the entry point of SeaweedFS's image: its own options for `server`, then those of compose.
shift
exec /venv/bin/weed server -dir=/data -volume.max=0 -master.volumePreallocate -master.volumeSizeLimitMB=1024 "$@"
