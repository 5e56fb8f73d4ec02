# Shared by scripts/quickstart and scripts/test: `bootstrap film` or `bootstrap film test models` makes .venv
# with exactly what requirements/<name>.txt hold, and hpcwise itself. Sourced by bash, in the root of the
# repository. Does nothing when the environment is already the one that the lock files describe.
#
# Needs Python 3.11 and nothing else: pip comes out of scripts/vendor, because a Debian python3 without
# python3-venv has none, and somebody who is not root cannot add it.

die() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

# Prints the first Python 3.11 that can make a virtual environment; the lock files hold wheels for 3.11.
# A Python named in HPCWISE_PYTHON is taken or refused, never replaced by another.
find_python() {
    local candidate seen="" candidates=(python3.11 python3 /usr/bin/python3.11 /usr/local/bin/python3.11)
    [ -z "${HPCWISE_PYTHON:-}" ] || candidates=("$HPCWISE_PYTHON")
    for candidate in "${candidates[@]}"; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys, ssl, venv, ctypes; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
        seen="$seen, $candidate is $("$candidate" -V 2>&1 | head -n 1)"
    done
    die "no Python 3.11 found${seen}: install it (Debian 12: apt-get install python3) or name one in HPCWISE_PYTHON"
}

# A hash of all that decides what is in .venv.
wanted() {
    local name
    {
        echo "$1" "$PWD"
        shift
        cat pyproject.toml scripts/_bootstrap.sh scripts/gl_stand_in.py
        for name in "$@"; do cat "requirements/$name.txt"; done
    } | sha256sum | cut -d' ' -f1
}

# Whether .venv still works: its Python may have been removed or replaced since it was made.
usable() {
    [ -x .venv/bin/hpcwise ] && .venv/bin/python -c '' 2>/dev/null
}

# Runs a step of the set-up with its output in .venv/setup.log; its last lines are shown if it fails.
step() {
    if ! "$@" >>.venv/setup.log 2>&1; then
        tail -n 12 .venv/setup.log >&2
        die "setting up .venv failed at: $(basename "$1") ${*:2:4} (all of it: $PWD/.venv/setup.log)"
    fi
}

bootstrap() {
    unset PYTHONPATH PYTHONHOME  # packages from elsewhere would be taken before the pinned ones
    local python want stamp name lists=() site pip
    [ "$(uname -sm)" = "Linux x86_64" ] || die "the pinned wheels are for Linux on x86-64; this is $(uname -sm)"
    [ -w . ] || die "cannot write to $PWD, where .venv and results/ go: clone hpcwise to a folder of your own"
    python=$(find_python) || exit 2
    want=$(wanted "$python" "$@")
    # One set-up at a time in a clone; the lock is on a folder, so that it leaves no file behind.
    exec 9<scripts
    flock 9
    # The larger set contains the smaller: quickstart accepts the environment that scripts/test made.
    for stamp in .venv/stamp-*; do
        [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && usable && { exec 9<&-; return; }
    done
    # usp comes last: its DeepSpeed is built here, for which torch must be there.
    for name in "$@"; do [ "$name" = usp ] || lists+=(-r "requirements/$name.txt"); done
    echo "Setting up .venv (about a minute, once): the versions pinned in requirements/"
    rm -f .venv/stamp-*
    if [ "$(.venv/bin/python -c 'import sys; print(sys.version_info[:2] == (3, 11))' 2>/dev/null)" != True ]; then
        rm -rf .venv
        "$python" -m venv --without-pip .venv || die "$python cannot make a virtual environment in $PWD/.venv"
    fi
    : >.venv/setup.log
    pip=$(echo scripts/vendor/pip-*.whl)
    # A person's pip.conf (a mirror, a certificate) still holds; what would install elsewhere does not.
    unset PIP_TARGET PIP_PREFIX PIP_ROOT
    export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
    step .venv/bin/python "$pip/pip" install --no-index --no-deps "$pip"
    step .venv/bin/python -m pip install --only-binary :all: --require-hashes --no-deps "${lists[@]}"
    case " $* " in
    # Its builds for CPU and CUDA differ in their bytes: no hash holds for all.
    *" models "*) step .venv/bin/python -m pip install --only-binary :all: "$(grep -o 'torch==[0-9.]*[0-9]' requirements/models.txt)" ;;
    esac
    case " $* " in
    *" usp "*)
        step .venv/bin/python -m pip install --only-binary :all: --require-hashes --no-deps -r <(grep -v '^deepspeed' requirements/usp.txt)
        # Nothing of it is compiled.
        step env DS_BUILD_OPS=0 DS_ACCELERATOR=cpu .venv/bin/python -m pip install --no-build-isolation --require-hashes \
            --no-deps -r <(grep '^deepspeed' requirements/usp.txt)
        ;;
    esac
    site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    step .venv/bin/python scripts/gl_stand_in.py "$site"
    step .venv/bin/python -m pip install --no-index --no-deps --no-build-isolation --editable .
    step .venv/bin/python -c 'import av, h5py, numpy, onnxruntime, pypdfium2, skia, tokenizers, zmq'
    wanted "$python" film >.venv/stamp-film
    [ $# -eq 1 ] || wanted "$python" "$@" >".venv/stamp-${!#}"
    exec 9<&-
}
