# shellcheck shell=bash
# Debian packages for one checkout, to be sourced: apt fetches them and dpkg unpacks them under .cache and .tools. That
# takes no root, installs nothing on the machine and starts no service. Sources, proxies and keys are apt's own settings.

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# The lists are the checkout's own: the machine's may be empty, as in a container, or old, and only root can renew them.
# The sandbox user is root because apt's own user could not write below somebody's home.
apt_home=$PWD/.cache/apt
apt_options=(-q -o Dir::State::Lists="$apt_home/lists" -o Dir::Cache="$apt_home/cache"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root
    -o Acquire::Languages=none -o Acquire::GzipIndexes=true -o Acquire::Retries=3)

apt_update() {
    [[ -z $(find "$apt_home/updated" -mmin -60 2>/dev/null) ]] || return 0
    mkdir -p "$apt_home/lists/partial" "$apt_home/cache/archives/partial"
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        echo "there is no apt-get and dpkg on this machine" >"$apt_home/log"
        return 1
    fi
    # One dead source among several must not stop the rest; whether a package can be had shows when it is fetched.
    if apt-get "${apt_options[@]}" update >"$apt_home/log" 2>&1; then
        touch "$apt_home/updated"
    fi
}

# apt_missing PACKAGE: the package and those of its dependencies that this machine does not have, one a line.
apt_missing() {
    apt-get "${apt_options[@]}" --simulate --no-install-recommends install "$1" 2>>"$apt_home/log" |
        awk '$1 == "Inst" { print $2 }'
}

# apt_unpack FOLDER PACKAGE...: the files of those packages, below FOLDER.
apt_unpack() {
    local folder=$1 deb
    shift
    rm -rf "$apt_home/debs"
    mkdir -p "$apt_home/debs" "$folder"
    (cd "$apt_home/debs" && apt-get "${apt_options[@]}" download "$@") >>"$apt_home/log" 2>&1 || return 1
    for deb in "$apt_home"/debs/*.deb; do
        dpkg -x "$deb" "$folder"
    done
}

# apt_wrap FOLDER NAME [PATH]: .tools/NAME runs the program unpacked below .tools/FOLDER, at usr/bin/NAME or at PATH, with
# the libraries unpacked beside it.
apt_wrap() {
    local libraries
    # shellcheck disable=SC2016 # $here is the wrapper's
    libraries=$(cd .tools && find "$1" -name '*.so*' -printf '$here/%h\n' | sort -u | paste -sd :)
    cat >".tools/$2" <<END
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
LD_LIBRARY_PATH="$libraries" exec "\$here/$1/${3:-usr/bin/$2}" "\$@"
END
    chmod +x ".tools/$2"
}
