#!/usr/bin/env bash
# Compares what two builds of vae2x do: tools/compare_builds.sh OLD_BINARY NEW_BINARY [WORK_DIR]
#
# Runs the command lines of compare_builds.list with both, in two folders of the same layout, and compares every file they
# write, standard output and exit codes byte for byte. Standard error is prose, which may change: differences in it are reported
# and do not count. Exit code 1 if anything else differs that compare_builds.allowed does not list with a reason.
#
# Both builds need the features `train` and `text`. Devices are `cpu` and `burn` and all seeds are fixed, so a build compared
# with itself has no difference. What holds times is masked before it is compared, see `masked`:
#   timings.json       seconds and peak memory
#   log.jsonl          images per second
#   events.out.tfevents.TIME.*  the name's time and process, and the content's times: only the number of bytes is compared
#   standard output    numbers in front of " s" (of `demo`), and free memory (of `devices`)
#   standard error     lines of progress, images per second, and the folder that the build runs in
# ONLY=name,name runs these lines alone; lines that they build on must be named too.
set -euo pipefail
export LC_ALL=C

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  echo "usage: $0 OLD_BINARY NEW_BINARY [WORK_DIR]" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
declare -A binary=([old]=$(realpath "$1") [new]=$(realpath "$2"))
if [ $# -eq 3 ]; then
  work=$3
  mkdir -p "$work"
  [ -z "$(ls -A "$work")" ] || { echo "$work is not empty" >&2; exit 2; }
  work=$(realpath "$work")
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi

# The small inputs that the repository does not hold, in the folder `given` of the current one.
make_inputs() {
  local photos=in/photos fixtures=in/fixtures
  mkdir -p in given/mixed given/pictures home
  cp -r "$root/tests/fixtures" in/fixtures
  cp -r "$root/crates/cli/assets/photos" in/photos
  cp "$fixtures/data/wan_cheesecake_frame0.latent" given/
  head -c 20000 "$fixtures/vae_tiny_base/original.safetensors" >given/cut.safetensors
  head -c 3000 "$photos/chelsea.png" >given/broken.png
  # Images of a few pixels, decoded by the old build.
  local decode=(decode "$fixtures/vae_tiny_base/cases.safetensors" --latent-space raw --vae demo:base --device cpu --key)
  "${binary[old]}" "${decode[@]}" decode.image.latent -o given/small.png
  "${binary[old]}" "${decode[@]}" decode.image.latent -o given/small.jpg
  "${binary[old]}" "${decode[@]}" decode.wide.latent -o given/pictures/wide.png
  cp given/small.jpg given/pictures/
  cp given/small.png given/pictures/a.png
  cp given/small.png given/mixed/a.png
  cp given/broken.png given/mixed/b.png
  cp given/pictures/wide.png given/mixed/c.png
  echo "not an image" >given/mixed/notes.txt
  cat >given/decoder.toml <<-'TOML'
	model.base = "in/fixtures/vae_tiny_base/original.safetensors"
	data = { photos = ["in/photos/coffee.png"], held_out = ["in/photos/chelsea.png"], crop = 32, min_sharpness = 0.0 }
	train = { steps = 3, batch = 1 }
	gan = { weight = 0.1, width = 4 }
	log = { every = 1, eval_every = 2, checkpoint_every = 2 }
	eval = { size = 48, short_side = 0 }
	TOML
  cat >given/flow.toml <<-'TOML'
	layers = 1
	dim = 16
	heads = 2
	ffn_dim = 24
	steps = 3
	batch = 2
	crop = 4
	TOML
  cat >given/proxy.toml <<-'TOML'
	width = 4
	blocks = 1
	steps = 2
	batch = 2
	crop = 4
	log_every = 1
	checkpoint_every = 1
	TOML
  cat >given/tokenizer.json <<-'JSON'
	{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
	"added_tokens": [{"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
	"normalized": false, "special": true}],
	"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
	"post_processor": {"type": "TemplateProcessing",
	"single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
	"pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
	{"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
	"special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
	"model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false, "vocab": [["<pad>", 0], ["</s>", -1], ["<unk>", -2],
	["▁a", -3], ["▁red", -4], ["▁cat", -5], ["s", -6], ["▁", -7]]}}
	JSON
}

# Runs line $2, whose words are $3, with the build $1: out/NAME gets what it writes, said/NAME.* what it prints.
run_line() {
  local side=$1 name=$2
  shift 2
  cd "$work/$side"
  mkdir -p "out/$name" said
  local set=() code=0
  while [[ ${1:-} =~ ^[A-Z][A-Z0-9_]*= ]]; do
    set+=("$1")
    shift
  done
  env -u HF_HUB_CACHE -u HF_ENDPOINT -u HF_TOKEN HOME="$work/$side/home" HF_HOME="$work/$side/home" HF_HUB_OFFLINE=1 COLUMNS=100 \
    ${set[@]+"${set[@]}"} timeout 300 "${binary[$side]}" "$@" \
    </dev/null >"said/$name.stdout" 2>"said/$name.stderr" || code=$?
  echo "$code" >"said/$name.code"
  cd "$work"
}

# Prints file $1 without what depends on the clock or on the machine's load.
masked() {
  case $1 in
    */timings.json) sed -E 's/("[a-z]+_s"|"peak_rss_bytes"): [0-9.e+-]+/\1: #/' "$1" ;;
    */log.jsonl) sed -E 's/"images_per_second": ?[0-9.e+-]+/"images_per_second": #/' "$1" ;;
    */events.out.tfevents.*) wc -c <"$1" ;;
    */devices.stdout) sed -E 's/[0-9.]+ [GM]B( are)? free/# free/g' "$1" ;;
    *.stderr) sed -E "/, [0-9]+ s left$/d; s#$work/(old|new)/##g; s/images_per_second [0-9.e+-]+/images_per_second #/" "$1" ;;
    *.stdout) sed -E 's/[0-9]+(\.[0-9]+)? s\b/# s/g' "$1" ;;
    *) cat "$1" ;;
  esac
}

# Whether two files are the same once they are masked.
is_same() {
  cmp -s "$1" "$2" || cmp -s <(masked "$1") <(masked "$2")
}

# Names of the files below folder $1, those of events without their times.
names() {
  (cd "$1" && find . -mindepth 1 \( -type f -o -type l -o -type d -empty \) | sort |
    sed -E 's/(events\.out\.tfevents)\.[0-9]+(\.vae2x)\.[0-9]+/\1*\2*/')
}

# The file of folder $1 that `names` calls $2.
found() {
  local pattern=${2//\*/.*}
  (cd "$1" && find . -type f | sort | grep -x -m 1 -- "$pattern") || true
}

# Prints what differs between the builds on line $1, an item a line: exit, stdout, stderr, or a path.
differences() {
  local name=$1 item
  is_same "old/said/$name.code" "new/said/$name.code" || echo exit
  for item in stdout stderr; do
    is_same "old/said/$name.$item" "new/said/$name.$item" || echo "$item"
  done
  compare_folders "out/$name"
}

# Prints the names of files in which folder $1 differs between the builds.
compare_folders() {
  local folder=$1 item
  comm -3 <(names "old/$folder") <(names "new/$folder") | tr -d '\t'
  comm -12 <(names "old/$folder") <(names "new/$folder") | while read -r item; do
    local a b
    a=$(found "old/$folder" "$item")
    b=$(found "new/$folder" "$item")
    [ -z "$a$b" ] || is_same "old/$folder/$a" "new/$folder/$b" || echo "$item"
  done
}

# Whether compare_builds.allowed lists item $2 of line $1, with a reason after a colon.
is_allowed() {
  grep -v '^#' "$here/compare_builds.allowed" | grep -qE "^$1 +(any|$(sed 's/[.[*^$/]/\\&/g' <<<"$2")) *: *[^ ]"
}

# Counts and reports line $1, whose differences are $2.
report() {
  local name=$1 item counted=() allowed=() prose=
  for item in $2; do
    if [ "$item" = stderr ]; then
      prose=" [stderr differs]"
    elif is_allowed "$name" "$item"; then
      allowed+=("$item")
    else
      counted+=("$item")
    fi
  done
  [ -z "$prose" ] || worded=$((worded + 1))
  local code
  code=$(cat "old/said/$name.code" 2>/dev/null || true)
  if [ ${#counted[@]} -gt 0 ]; then
    differing=$((differing + 1))
    echo "differs  $name (${counted[*]})$prose"
  elif [ ${#allowed[@]} -gt 0 ]; then
    permitted=$((permitted + 1))
    echo "allowed  $name (${allowed[*]})$prose"
  else
    same=$((same + 1))
    echo "same     $name${code:+ (exit $code)}$prose"
  fi
}

same=0 differing=0 permitted=0 worded=0
cd "$work"
mkdir old new
(cd old && make_inputs >/dev/null 2>&1) || { echo "the old build could not make the inputs" >&2; exit 1; }
cp -r old/. new/
cp -r old/in old/given "$work"/

while read -r name line; do
  if [ -z "$name" ] || [[ $name == \#* ]] || [[ -n ${ONLY:-} && ",$ONLY," != *",$name,"* ]]; then
    continue
  fi
  line=${line//\{fixtures\}/in/fixtures}
  line=${line//\{photos\}/in/photos}
  line=${line//\{given\}/given}
  line=${line//\{out\}/out/$name}
  line=$(sed -E 's#\{([a-z0-9_]+)\}#out/\1#g' <<<"$line")
  set -f
  eval "words=($line)"
  set +f
  run_line old "$name" "${words[@]}"
  run_line new "$name" "${words[@]}"
  report "$name" "$(differences "$name")"
done <"$here/compare_builds.list"

# What was written anywhere else: beside the lines' folders, or over an input.
elsewhere() {
  local side
  for side in old new; do
    diff -rq in "$side/in" || true
    diff -rq given "$side/given" || true
    (cd "$side" && find . -mindepth 1 -maxdepth 1 ! -name in ! -name given ! -name out ! -name said ! -name home)
  done | sort -u | tr ' ' '_'
  compare_folders home
}
report elsewhere "$(elsewhere)"

echo "$same same, $differing differ${permitted:+, $permitted allowed}; standard error differs in $worded"
[ "$differing" -eq 0 ]
