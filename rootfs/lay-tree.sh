# shellcheck shell=bash disable=SC2154
# What both builders put in a guest's root file system: busybox under all its names, guest/, and the empty folders.

# Lays it out in the folder $1.
lay_tree() {
    local name
    mkdir -p "$1"/{bin,sbin,etc,proc,sys,dev,run,tmp,root,var,mnt,lib}
    cp /bin/busybox "$1/bin/busybox"
    for name in $(/bin/busybox --list); do
        [ "$name" = busybox ] || ln -s busybox "$1/bin/$name"
    done
    cp -R "$top/rootfs/guest/." "$1/"
    echo 'root::0:0:root:/root:/bin/sh' >"$1/etc/passwd"
    echo 'root:x:0:' >"$1/etc/group"
}

# Gives everything in the folder $1 the same modes and times wherever and whenever it is built.
settle_tree() {
    chmod -R u=rwX,go=rX "$1"
    chmod 1777 "$1/tmp"
    find "$1" -exec touch -h -d @0 {} +
}
