#!/usr/bin/env bash
# Installs what building and testing need on Debian 12 or Ubuntu 24.04.
#
#   bash deploy/install.sh           the packages of deploy/dependencies.txt
#   bash deploy/install.sh --cross   also what the preset aarch64 needs on another architecture:
#                                    cross compiler, emulator, and the arm64 packages of the same
#                                    list, unpacked into build/sysroot-aarch64 (Debian 12)
#
# Does nothing when all of it is there; installing needs root (or sudo).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cross=false
case "${1:-}" in
  "") ;;
  --cross) cross=true ;;
  *)
    echo "usage: bash deploy/install.sh [--cross]" >&2
    exit 2
    ;;
esac

packages_of() { grep -hv '^#' "$@"; }

# Installs those of the packages named by the arguments that are missing.
install_packages() {
  local package status missing=() as_root=()
  for package in "$@"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    echo "dependencies: all $# packages are installed"
    return
  fi
  if ((EUID != 0)); then
    command -v sudo >/dev/null || {
      echo "error: ${#missing[@]} packages are missing and this user is not root and has no sudo." >&2
      echo "Ask an administrator to run: apt-get install ${missing[*]}" >&2
      exit 1
    }
    as_root=(sudo)
  fi
  echo "dependencies: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=500 \
    "${missing[@]}" >/dev/null
}

# The arm64 development packages cannot be installed beside those of this machine (some of them
# replace each other), so apt resolves and downloads them by a state of its own in which nothing is
# installed, and they are unpacked. The system's list of packages is not touched.
fill_sysroot() {
  local sysroot=$PWD/build/sysroot-aarch64 apt=$PWD/build/sysroot-aarch64-apt packages link target
  mapfile -t packages < <(packages_of deploy/dependencies.txt | grep -e '-dev$')
  if [[ ${packages[*]} == "$(cat "$sysroot/packages" 2>/dev/null)" ]]; then
    echo "dependencies: build/sysroot-aarch64 is complete"
    return
  fi
  echo "dependencies: filling build/sysroot-aarch64"
  rm -rf "$sysroot" "$apt"
  mkdir -p "$sysroot" "$apt/lists/partial" "$apt/archives/partial"
  : >"$apt/status"
  local of_arm64=(-qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64
    -o "Dir::State=$apt" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt")
  apt-get "${of_arm64[@]}" update
  apt-get "${of_arm64[@]}" install -y --no-install-recommends --download-only "${packages[@]}" \
    >/dev/null
  for archive in "$apt"/archives/*.deb; do
    dpkg --extract "$archive" "$sysroot"
  done
  # The linker follows links by this machine's root.
  find "$sysroot" -type l -lname '/*' | while read -r link; do
    target=$(readlink "$link")
    ln -sfr "$sysroot$target" "$link"
  done
  rm -rf "$apt"
  echo "${packages[*]}" >"$sysroot/packages"
}

mapfile -t packages < <(packages_of deploy/dependencies.txt)
install_packages "${packages[@]}"
if $cross; then
  mapfile -t packages < <(packages_of deploy/cross-dependencies.txt)
  install_packages "${packages[@]}"
  fill_sysroot
fi
