#!/bin/sh
# A release from a clean clone, step by step; docs/ci/README.md says what each needs.
#   docs/ci/release.sh all                                  every step, in order
#   docs/ci/release.sh prepare|fetch|build|reproduce|sign|verify|publish|rollout
# Every step can be repeated: the same commit gives the same bytes, and what the server has it is not sent again.
set -eu
umask 077
cd "$(dirname "$0")/../.."

step() { echo "==> $*" >&2; }

fail() {
    echo "release.sh: $1" >&2
    echo "  $2." >&2
    exit 1
}

if [ -z "${SEQUENCE:-}" ] && [ "$(git rev-parse --is-shallow-repository)" != false ]; then
    fail "this clone is shallow, so its commits cannot be counted" "Fetch all of it (fetch-depth: 0), or set SEQUENCE"
fi

PRODUCT=${PRODUCT:-tidegate-gateway}
VENDOR=${VENDOR:-tidegate.example}
BOARDS=${BOARDS:-all}                                # names, a blank between them, or all of boards/
VERSION=${VERSION:-$(git describe --tags --always | sed 's/^v//')}
SEQUENCE=${SEQUENCE:-$(git rev-list --count HEAD)}   # of a commit always the same, and higher than those before it
TRUST=${TRUST:-trust.cbor}                           # the trust store that the boards have; public
LAST=${LAST:-3}                                      # releases to make patches from
CHANNEL=${CHANNEL:-candidate}                        # where it is published
ROLLOUT=${ROLLOUT:---channel stable}                 # where it is brought to then: --channel C or --group G
NATIVE=${NATIVE:-yes}                                # whether images carry machine code (needs gcc-arm-none-eabi)
WORK=${WORK:-build/release}
OUT=$WORK/releases/$VERSION
case $VERSION in # it becomes a path
    [!0-9A-Za-z]* | *[!0-9A-Za-z.+-]*) fail "'$VERSION' is no version" "Write it like 1.4.0" ;;
esac

# A secret for one command: from the file that $2 names, or from the variable $1 by way of a file that is removed again.
secret() {
    eval "text=\${$1:-} file=\${$2:-}"
    if [ -z "$file" ]; then
        [ -n "$text" ] || fail "neither $1 nor $2 is set" "Give this step the secret, and no other step"
        mkdir -p "$WORK"
        file=$(mktemp "$WORK/secret.XXXXXX")
        trap 'rm -f "$WORK"/secret.*' EXIT
        trap 'exit 130' INT TERM
        printf '%s\n' "$text" > "$file"
    fi
    SECRET=$file
}

prepare() {
    step "installing tidegate"
    if [ "$NATIVE" = yes ]; then
        python3 -m pip install --quiet --disable-pip-version-check '.[native]'
        python3 tools/toolchain.py
        # Without a core named all are built; images take what their board.toml asks for.
        # shellcheck disable=SC2086
        python3 tools/native.py ${NATIVE_CORES:-}
    else
        python3 -m pip install --quiet --disable-pip-version-check .
    fi
}

client() {
    step "installing tidegate"
    python3 -m pip install --quiet --disable-pip-version-check .
}

fetch() {
    step "fetching what $VERSION is linked and diffed against"
    rm -rf "$WORK/previous"
    secret PUBLISH_TOKEN PUBLISH_TOKEN_FILE
    tidegate release fetch --product "$PRODUCT" --last "$LAST" --before "$SEQUENCE" --trust "$TRUST" \
        --out "$WORK/previous" --token-file "$SECRET"
}

build() {
    step "building $PRODUCT $VERSION, sequence $SEQUENCE"
    rm -rf "$OUT"
    set -- --product "$PRODUCT" --vendor "$VENDOR" --version "$VERSION" --sequence "$SEQUENCE" --out "$OUT"
    for folder in "$WORK"/previous/*; do # 1 is the newest
        [ ! -d "$folder" ] || set -- "$@" --previous "$folder"
    done
    [ "$BOARDS" != all ] || BOARDS=$(cd boards && ls -d */board.toml | sed 's,/board.toml,,')
    for board in $BOARDS; do
        set -- "$@" --board "$board"
    done
    tidegate release build "$@"
}

reproduce() {
    step "building it again from the commit, and comparing"
    set -- "$OUT"
    for folder in "$WORK"/previous/*; do
        [ ! -d "$folder" ] || set -- "$@" --previous "$folder"
    done
    tidegate release reproduce "$@"
}

sign() {
    step "signing"
    if [ -n "${SIGNER:-}" ]; then
        [ -n "${RELEASE_PUBLIC:-}" ] || fail "SIGNER is set and RELEASE_PUBLIC is not" "Name the key's public file in it"
        tidegate release sign "$OUT" --signer "$SIGNER" --public "$RELEASE_PUBLIC"
    else
        secret RELEASE_KEY RELEASE_KEY_FILE
        tidegate release sign "$OUT" --key "$SECRET"
    fi
}

verify() {
    step "verifying as boards and server will"
    set -- "$OUT" --trust "$TRUST"
    for folder in "$WORK"/previous/*; do
        [ ! -d "$folder" ] || set -- "$@" --previous "$folder"
    done
    tidegate release verify "$@"
}

publish() {
    step "publishing into the channel $CHANNEL"
    secret PUBLISH_TOKEN PUBLISH_TOKEN_FILE
    tidegate release publish "$OUT" --channel "$CHANNEL" --yes --token-file "$SECRET"
}

rollout() {
    step "bringing it to devices: $ROLLOUT"
    secret ROLLOUT_TOKEN ROLLOUT_TOKEN_FILE
    # shellcheck disable=SC2086
    tidegate rollout start "$VERSION" --product "$PRODUCT" $ROLLOUT --yes --token-file "$SECRET"
}

case ${1:-} in
    prepare | client | fetch | build | reproduce | sign | verify | publish | rollout) "$1" ;;
    all)
        prepare
        for name in fetch build reproduce sign verify publish rollout; do
            docs/ci/release.sh "$name" # each on its own, so that what went wrong ends it, and a secret's file is gone after its step
        done
        ;;
    *) fail "no such step: ${1:-}" "Name one of: prepare client fetch build reproduce sign verify publish rollout all" ;;
esac
