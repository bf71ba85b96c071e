#!/bin/sh
# Key ceremony of a country's certification authority; certs/README.md says who takes part and what comes before and after.
#
#   certs/ceremony.sh COUNTRY FEDERATION FOLDER [--rehearsal]
#
# Leaves FOLDER/offline (the root's key and certificate, for two media in two safes), FOLDER/online (what the issuing
# machine gets) and FOLDER/minutes.txt. Passphrases are drawn here, shown once, typed back, and never stored.
set -eu
umask 077

die() { echo "ceremony: $*" >&2; exit 2; }

[ $# -ge 3 ] || die "usage: ceremony.sh COUNTRY FEDERATION FOLDER [--rehearsal]"
country=$1 federation=$2 folder=$3 rehearsal=${4:-}
command -v enlace >/dev/null || die "the enlace command is not on the PATH"
command -v openssl >/dev/null || die "openssl is not on the PATH"
[ ! -e "$folder" ] || die "$folder exists: a ceremony starts with nothing"
# A route out of the machine means that it is on a network; a key made there was never secret.
if [ "$rehearsal" != --rehearsal ] && [ -r /proc/net/route ] && awk 'NR > 1 && $2 == "00000000" { found = 1 } END { exit !found }' /proc/net/route; then
  die "this machine is on a network: unplug it, or rehearse with --rehearsal and keep nothing"
fi

# In memory, so that nothing is left on a disk.
secrets=$(mktemp -d "/dev/shm/ceremony.XXXXXX" 2>/dev/null) || die "no memory file system at /dev/shm"
trap 'rm -rf "$secrets"' EXIT
trap 'exit 130' INT HUP TERM

# draw WHOM FILE: shows 120 random bits once and adds them to FILE when they have been typed back.
draw() {
  part=$(openssl rand -base64 15)
  printf '\n%s alone looks at the screen now and writes this down:\n\n    %s\n\n' "$1" "$part"
  while :; do
    printf 'Type it back: '
    IFS= read -r typed || die "nobody typed it back"
    [ "$typed" = "$part" ] && break
    echo "That differs; look again."
  done
  printf '%s' "$part" >>"$2"
  [ ! -t 1 ] || clear
}

draw "The first custodian of the root" "$secrets/root"
draw "The second custodian of the root" "$secrets/root"
draw "The administrator of the issuing machine" "$secrets/issuing"

online=$folder/online offline=$folder/offline
mkdir -p "$online" "$offline"
enlace pki init-ca --country "$country" --federation "$federation" --issuing \
  --dir "$online" --passphrase-file "$secrets/root" >/dev/null

# scrypt makes guessing dear, and the issuing machine must not know what opens the root. (A copy, since openssl takes the
# second line of a file that is named twice.)
cp "$secrets/root" "$secrets/root-again"
seal() { openssl pkcs8 -topk8 -scrypt -in "$1" -passin "file:$secrets/root" -out "$2" -passout "file:$3"; }
seal "$online/ca/root.key" "$offline/root.key" "$secrets/root-again"
seal "$online/ca/issuing.key" "$online/ca/issuing.key.sealed" "$secrets/issuing"
mv "$online/ca/issuing.key.sealed" "$online/ca/issuing.key"
rm "$online/ca/root.key"
cp "$online/ca/root.crt" "$offline/root.crt"

# Judged by other software than made them.
openssl verify -x509_strict -CAfile "$offline/root.crt" "$online/ca/issuing.crt" >/dev/null
openssl pkey -in "$offline/root.key" -passin "file:$secrets/root" -noout
openssl pkey -in "$online/ca/issuing.key" -passin "file:$secrets/issuing" -noout

fingerprint() { openssl x509 -in "$1" -noout -fingerprint -sha256 | cut -d= -f2; }
{
  echo "Key ceremony of $country in $federation, $(date -u '+%Y-%m-%d %H:%M UTC')"
  [ "$rehearsal" != --rehearsal ] || echo "REHEARSAL: these keys are for the bin"
  echo
  echo "SHA-256 of the root certificate:    $(fingerprint "$offline/root.crt")"
  echo "SHA-256 of the issuing certificate: $(fingerprint "$online/ca/issuing.crt")"
  echo
  echo "Read aloud, compared and signed by:"
  for who in "first custodian" "second custodian" "administrator" "witness"; do
    printf '\n  %-18s name ______________________  signature ______________________\n' "$who"
  done
} >"$folder/minutes.txt"

cat "$folder/minutes.txt"
cat <<END

Now: copy $offline to two media, compare their SHA-256 sums, seal each in a bag with its number in the minutes,
bring $online to the issuing machine, print the minutes, and destroy this machine's disk or switch it off for good.
END
