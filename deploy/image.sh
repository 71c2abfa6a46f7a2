#!/bin/sh
# Lays out the root of the image below FOLDER: PROGRAM, the libraries that it is linked with, and what these read. As root, for what belongs
# to the user that it will run as.
#   deploy/image.sh PROGRAM FOLDER
set -eu
program=$1 root=$2 user=65532

install -D -m 755 "$program" "$root/usr/local/bin/aegis"
# Where the loader will look for them: the paths that it says itself. What is not found has none, and ends this.
libraries=$(ldd "$program")
case "$libraries" in *"not found"*) echo "$libraries" >&2; exit 1 ;; esac
echo "$libraries" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 755 "$library" "$root$library"
done

# TLS to providers and to the database; names from /etc/hosts and by DNS, which the C library does alone.
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
echo "aegis:x:$user:$user:Aegis:/etc/aegis:/nowhere" > "$root/etc/passwd"
echo "aegis:x:$user:" > "$root/etc/group"

install -d -m 755 "$root/etc/aegis" "$root/etc/aegis/secrets" "$root/etc/aegis/authorities"
install -d -m 700 -o $user -g $user "$root/var/lib/aegis"
# Open to all, for whatever is mounted there takes these rights and may be root's. Aegis makes a folder for itself alone in it.
install -d -m 1777 "$root/var/cache/aegis"
