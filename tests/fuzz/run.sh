#!/bin/sh
# Builds a target with the compiler's coverage counters, on stable Rust, and runs it: ./run.sh scanner -max_total_time=900
set -eu
cd "$(dirname "$0")"
target=$1
shift
host=$(rustc -vV | sed -n 's/^host: //p')
# What `cargo fuzz` passes too; without a sanitizer, as nothing here is unsafe.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
cargo build --release --target "$host" --bin "$target" ${FEATURES:+--features "$FEATURES"}
mkdir -p "corpus/$target" "artifacts/$target"
if [ "$target" = scanner ]; then
    # Each sample with the byte of its dialect and one that says how it is cut.
    number=0
    for sample in ../fixtures/*.sse ../fixtures/*.json; do
        case "$sample" in
            *responses_input*) dialect=4 ;;
            *responses_* | *decisions*) dialect=2 ;;
            *ollama_completions*) dialect=1 ;;
            *embeddings*) dialect=3 ;;
            *images*) dialect=5 ;;
            *speech*) dialect=6 ;;
            *transcription*) dialect=7 ;;
            *) dialect=0 ;;
        esac
        number=$(((number + 1) % 8))
        { printf "\\00$dialect\\00$number"; cat "$sample"; } >"corpus/$target/$(basename "$sample")"
    done
fi
if [ "$target" = form ]; then
    disposition='Content-Disposition: form-data; name='
    printf '\007--b0\r\n%s"model"\r\n\r\nwhisper-1\r\n--b0\r\n%s"file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--b0--\r\n' \
        "$disposition" "$disposition" >"corpus/form/whole"
fi
out=${CARGO_TARGET_DIR:-target}/$host/release/$target
dictionary=
[ -f "targets/$target.dict" ] && dictionary="-dict=targets/$target.dict"
exec "$out" $dictionary -artifact_prefix="artifacts/$target/" "corpus/$target" "$@"
