# Sourced by scripts/run and scripts/test, for bash 3.2 and later: checks the machine, finds a
# Python, and keeps .venv in step with requirements/ and pyproject.toml. A stamp in .venv, written
# last, says what it holds; while the stamp fits, nothing is installed and pip is not called.
# shellcheck shell=bash

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
program=scripts/${0##*/}
newest_minor=14 # of the Python 3 versions, the newest that all pinned wheels exist for
python=         # set by find_python, with its version
python_version=

note() {
    printf '%s\n' "$*" >&2
}

die() {
    note "$program: $*"
    exit 1
}

# Dies when the pinned wheels cannot run here.
check_machine() {
    local system machine
    read -r system machine < <(uname -sm)
    case $system in
        Linux) ;;
        Darwin) newest_minor=13 ;; # nmslib 2.1.2 has no macOS wheel for 3.14
        *) die "annidx runs on Linux and macOS, not on $system: use one of these (on Windows, WSL)." ;;
    esac
    case $machine in
        x86_64 | amd64 | aarch64 | arm64) ;;
        *) die "annidx needs a 64-bit x86-64 or ARM system, and this one is $machine: use another machine." ;;
    esac
    check_processor /proc/cpuinfo
}

# $1 is a file like /proc/cpuinfo; one without a line of x86 flags passes (ARM, macOS).
check_processor() {
    local flags flag
    flags=$(grep -m 1 '^flags' "$1" 2>/dev/null) || return 0
    for flag in sse4_1 sse4_2; do
        case " $flags " in
            *" $flag "*) ;;
            *) die "this processor has no $flag, which numpy and pyarrow need: use a newer machine." ;;
        esac
    done
}

# Prints "VERSION BITS venv|no-venv" of the Python $1, or nothing.
probe() {
    "$1" -I -c '
import sys
try:
    import ensurepip, venv
    has_venv = "venv"
except ImportError:
    has_venv = "no-venv"
bits = 64 if sys.maxsize > 2**32 else 32
print("%d.%d.%d" % sys.version_info[:3], bits, has_venv)
' 2>/dev/null
}

# Sets python and python_version: the first of $PYTHON, python3, python3.14 ... python3.11 that
# will do; one newer than the wheels only if there is no other.
find_python() {
    local candidate version bits has_venv minor newer='' newer_version='' too_old='' unfit=''
    for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do
        read -r version bits has_venv < <(probe "$candidate") || continue
        minor=${version#*.}
        minor=${minor%%.*}
        if [[ $version != 3.* || $minor -lt 11 ]]; then
            too_old=${too_old:-"$candidate is $version"}
        elif [[ $bits != 64 ]]; then
            unfit=${unfit:-"$candidate ($version) is a 32-bit build: install a 64-bit Python"}
        elif [[ $has_venv != venv ]]; then
            unfit=${unfit:-"$candidate ($version) has no venv module: install it (on Debian and Ubuntu the package python3-venv)"}
        elif [[ $minor -gt $newest_minor ]]; then
            newer=${newer:-$candidate}
            newer_version=${newer_version:-$version}
        else
            python=$candidate
            python_version=$version
            return
        fi
    done
    if [[ -n $newer ]]; then
        python=$newer
        python_version=$newer_version
    elif [[ -n $unfit ]]; then
        die "$unfit, or set PYTHON to another Python, 3.11 or later."
    else
        die "no Python 3.11 or later found${too_old:+ ($too_old)}: install one, or set PYTHON to its path."
    fi
}

checksums() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$@"
    else
        shasum -a 256 "$@"
    fi
}

# Where an environment works: its launchers name the folder, its packages belong to one Python.
place() {
    printf 'python %s\nfolder %s\n' "$1" "$root"
}

stamp_text() {
    (cd -- "$root" && checksums "requirements/$1.txt" pyproject.toml)
    place "$2"
}

stamp_file() {
    case $1 in
        runtime) printf '%s\n' "$venv/.annidx-stamp" ;;
        dev | bench) printf '%s\n' "$venv/.annidx-stamp-$1" ;;
    esac
}

# Written under another name first, so that a stamp is whole or not there.
write_stamp() {
    local file
    file=$(stamp_file "$1")
    stamp_text "$1" "$2" >"$file.new"
    mv -f -- "$file.new" "$file"
}

venv_python_version() {
    "$venv/bin/python" -I -c 'import platform; print(platform.python_version())' 2>/dev/null
}

# Does .venv hold $1 (runtime, dev or bench) already, and is its Python the one asked for?
is_ready() {
    local file version
    file=$(stamp_file "$1")
    [[ -f $file && -x $venv/bin/annidx ]] || return 1
    version=$(venv_python_version) || return 1
    [[ -z ${PYTHON-} || $python_version == "$version" ]] || return 1
    [[ $(<"$file") == "$(stamp_text "$1" "$version")" ]]
}

# Was .venv whole before, in this folder and of this Python? Then packages can be changed in place.
can_update() {
    local file
    for file in "$(stamp_file runtime)" "$(stamp_file dev)" "$(stamp_file bench)"; do
        if [[ -f $file && $(<"$file") == *"$(place "$python_version")" ]]; then
            [[ $(venv_python_version) == "$python_version" ]] && return
        fi
    done
    return 1
}

# Runs a command; its output is shown only if it fails.
quietly() {
    local output
    output=$("$@" 2>&1) || {
        note "$output"
        die "the installation failed; the reason stands above. Call $program again to retry."
    }
}

# Isolated from PYTHONPATH and the like, and from settings that place packages elsewhere.
venv_pip() {
    env -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$venv/bin/python" -I -m pip --quiet --no-input "$@"
}

# Prints the requirements $1 without the one that has to be built.
wheels() {
    local line skip=
    while IFS= read -r line; do
        case $line in
            hnswlib==*) skip=1 ;;
            [a-z]*) skip= ;;
        esac
        [[ -n $skip ]] || printf '%s\n' "$line"
    done <"$1"
}

install_project() (
    cd -- "$root" &&
        venv_pip install --no-deps --no-build-isolation --no-index --editable .
)

make_venv() {
    if [[ -e $venv && ! -e $venv/.annidx-venv ]]; then
        die "$venv was not made by this script: move it away, and call $program again."
    fi
    rm -rf -- "$venv"
    mkdir -- "$venv"
    touch "$venv/.annidx-venv"
    quietly "$python" -I -m venv "$venv"
}

install_environment() {
    if can_update; then
        note "Updating annidx in .venv ..."
        rm -f -- "$(stamp_file runtime)" "$(stamp_file dev)" "$(stamp_file bench)"
    else
        note "Installing annidx into .venv (first time only, about 120 MB) ..."
        make_venv
    fi
    # Wheels only: what builds a source package would come without a hash.
    wheels "$root/requirements/$1.txt" >"$venv/wheels.txt"
    quietly venv_pip install --only-binary :all: --require-hashes \
        --requirement "$venv/wheels.txt"
    quietly install_project
    if [[ $1 == bench ]]; then
        # hnswlib has no wheels; what builds it is there now, with hashes as well.
        quietly venv_pip install --no-deps --no-build-isolation --require-hashes \
            --requirement "$root/requirements/bench.txt"
    fi
    # The other requirements contain those of the runtime.
    if [[ $1 != runtime ]]; then
        write_stamp "$1" "$python_version"
    fi
    write_stamp runtime "$python_version"
}

# One installs, others wait. The lock is on file descriptor 9 and ends with the processes that
# hold it; Python takes it, since macOS has no flock command.
lock() {
    [[ -w $root ]] || die "cannot write to $root, where .venv belongs: copy annidx to a folder of yours."
    exec 9>"$root/.venv.lock"
    "$python" -I -c '
import fcntl, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("Waiting for another installation into .venv ...", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
'
}

# Makes .venv hold what requirements/$1.txt pins, and annidx itself.
ensure_environment() {
    if [[ -n ${PYTHON-} ]]; then
        find_python
    fi
    if is_ready "$1"; then
        return
    fi
    if [[ -z $python ]]; then
        find_python
    fi
    trap 'note "Interrupted: .venv is not complete; call $program again."; exit 130' INT
    lock
    if ! is_ready "$1"; then
        install_environment "$1"
    fi
    exec 9>&-
    trap - INT
}
