#!/usr/bin/env bash
# Install the programs and fonts that tests use and pip cannot bring. The Makefile calls this.
# Only root on Debian or Ubuntu can; elsewhere, and where it fails, the tests that need one of them
# are skipped and say so.
set -euo pipefail

packages=(
  fonts-dejavu-core  # the widest font that figures are measured for
  fonts-noto-cjk    # Korean in figures, animations and worksheets
  libcairo2         # draws PDF
  libreoffice-calc  # computes spreadsheets again
  poppler-utils     # reads the text of PDF files
  texlive-latex-recommended  # compiles LaTeX: fontspec and others
  texlive-pictures  # TikZ
  texlive-xetex     # compiles LaTeX with Korean
)

missing=()
for package in "${packages[@]}"; do
  if [ "$(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null)" != \
    "install ok installed" ]; then
    missing+=("$package")
  fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Tests that need these will be skipped: ${missing[*]}"
  exit 0
fi

echo "Installing for the tests: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -qq -y --no-install-recommends "${missing[@]}")
# The list of packages may be missing or old; then it is fetched.
"${install[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}"; } >/dev/null ||
  echo "They could not be installed; tests that need them will be skipped."
