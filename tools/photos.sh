#!/usr/bin/env bash
# Fetches freely licensed photos into a folder, for training and for the examples that measure on photos.
#
#   tools/photos.sh DIR
#
# They are wallpapers out of four Debian packages, fetched by apt-get and unpacked without being installed. DIR/LICENSES.txt lists
# where each file comes from and holds the packages' copyright files.
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: $0 DIR" >&2
  exit 2
fi
command -v apt-get >/dev/null || { echo "apt-get is missing; this needs Debian or a system like it" >&2; exit 1; }
mkdir -p "$1"
target=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

packages=(plasma-workspace-wallpapers mate-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04)
apt-get update -qq
apt-get download -qq "${packages[@]}"
mkdir unpacked
for package in *.deb; do
  dpkg -x "$package" "unpacked/${package%%_*}"
done

: >"$target/LICENSES.txt"
# Copies file $2 as $1.
take() {
  cp "$2" "$target/$1"
  echo "$1 is $2" >>"$target/LICENSES.txt"
}
shopt -s nullglob globstar
for file in unpacked/lomiri*/usr/share/backgrounds/**/{*_by_*,Picture_*}.jpg unpacked/mate*/usr/share/backgrounds/mate/nature/*.jpg; do
  take "$(basename "$file")" "$file"
done
for name in Autumn BytheWater ColdRipple ColorfulCups DarkestHour EveningGlow FallenLeaf Grey Kite OneStandsOut Path summer_1am; do
  for file in unpacked/plasma*/usr/share/wallpapers/"$name"/contents/images/2560x1600.*; do
    take "$name.${file##*.}" "$file"
    break
  done
done
for file in unpacked/*/usr/share/doc/*/copyright; do
  printf '\n==== %s\n' "$file"
  cat "$file"
done >>"$target/LICENSES.txt"
echo "$(find "$target" -type f ! -name LICENSES.txt | wc -l) photos in $target"
