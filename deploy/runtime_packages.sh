#!/usr/bin/env bash
# Prints the packages that own the shared libraries which programs load, one a line.
#
#   bash deploy/runtime_packages.sh PROGRAM...
#
# Libraries that every Debian or Ubuntu system has (libc, zlib) lie under /lib, where the loader
# does not look for them first: their packages stay unnamed.
set -euo pipefail

ldd "$@" | awk '$2 == "=>" { print $3 }' | sort -u | xargs realpath |
  { xargs dpkg-query --search 2>/dev/null || true; } | cut -d: -f1 | sort -u
