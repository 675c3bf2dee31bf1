#!/bin/sh
# RUSTC_WORKSPACE_WRAPPER: our own crates, and only they, count the executions of their code.
exec "$@" -C instrument-coverage -C llvm-args=-enable-name-compression=false
