#!/bin/sh
# Makes the secrets of compose.yaml in FOLDER (deploy/secrets), and touches none that is there: a password for the database, and the
# provider's key from $PROVIDER_KEY.
#   PROVIDER_KEY=sk-… deploy/secrets.sh [FOLDER]
set -eu
folder=${1:-$(dirname "$0")/secrets}

# Nobody else comes into the folder. The files are open to all, for compose hands them to containers with the rights that they have here.
mkdir -p "$folder" && chmod 700 "$folder"
umask 022
keep() { # NAME VALUE
    [ -e "$folder/$1" ] || printf '%s\n' "$2" > "$folder/$1"
}

password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
keep database-password "$password"
keep database-url "postgres://aegis:$(cat "$folder/database-password")@database:5432/aegis"
[ -e "$folder/provider-key" ] || keep provider-key "${PROVIDER_KEY:?the key of your provider: PROVIDER_KEY=sk-… $0}"
