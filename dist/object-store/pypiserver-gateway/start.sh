#!/bin/sh
# Makes files for nginx of the container's environment, refuses what cannot work, and becomes nginx.
#
#   MAX_UPLOAD          largest upload, a quantity of Kubernetes: 1Gi, 500M, 1e9, 1073741824. Default 1Gi.
#   CONCURRENT_UPLOADS  uploads that are received at once, 1 to 256. Default 20.
#   UPLOAD_ROOM         what they may take together while they are received, a quantity as well: fewer are received at
#                       once if they are larger. Default no bound.
#   PATH_PREFIX         path below which clients find the registry, such as /pypi. Default /.
#   TRUSTED_PROXIES     addresses and networks, separated by spaces, of the proxies whose X-Forwarded headers are
#                       believed. Default none.
#   ALLOW_REMOVAL       yes if packages can be removed: then no client keeps one without asking. Default no.
#   INGRESS             yes if an Ingress sends plain HTTP to this pod. Default no.
#   WRITER              name of the writer's Service, at a reader: what is published goes there. Default none.
#   READERS             yes at a writer that readers send to, who have counted and limited what they send. Default no.
#   LOG_LEVEL           of nginx's error log: info, notice, warn, error or crit. Default error.
#
# Arguments go to nginx. POSIX sh, for busybox and dash.
set -eu

# The first process of a container is told to end in vain if it does not say what then. nginx says so itself.
trap 'exit 0' TERM QUIT INT

files=/etc/pypiserver/gateway
pid_file=/run/pypiserver/gateway.pid
away=/run/pypiserver/volume-away
made=/tmp/gateway
termination_log=/dev/termination-log
resolv=/etc/resolv.conf
largest=9223372036854775807
too_large="it is more than nginx can count, 2^63 bytes"

refuse() {
  printf 'the gateway cannot start: %s\n' "$1" >&2
  if [ -w "$termination_log" ]; then
    printf '%s\n' "$1" >"$termination_log"
  fi
  exit 1
}

choice() {
  # choice NAME VALUE ALLOWED...
  name=$1 value=$2
  shift 2
  for allowed in "$@"; do
    if [ "$value" = "$allowed" ]; then
      return
    fi
  done
  refuse "$name is '$value'; it must be one of: $*"
}

refuse_size() {
  refuse "$variable is '$size'; $1"
}

# Sets `bytes`. A quantity may have a fraction and can be beyond what the shell can count, which would wrap in silence.
read_size() {
  # read_size NAME VALUE
  variable=$1 size=$2
  form="it must be a size such as 1Gi, 500M, 1e9 or 1073741824"
  number=${size%%[!0-9.]*}
  suffix=${size#"$number"}
  case $number in
    '' | . | *.*.*) refuse_size "$form" ;;
  esac
  case $suffix in
    '') base=1 times=0 ;;
    k) base=1000 times=1 ;;
    M) base=1000 times=2 ;;
    G) base=1000 times=3 ;;
    T) base=1000 times=4 ;;
    P) base=1000 times=5 ;;
    E) base=1000 times=6 ;;
    Ki) base=1024 times=1 ;;
    Mi) base=1024 times=2 ;;
    Gi) base=1024 times=3 ;;
    Ti) base=1024 times=4 ;;
    Pi) base=1024 times=5 ;;
    Ei) base=1024 times=6 ;;
    [eE][0-9] | [eE][1-9][0-9]) base=10 times=${suffix#?} ;;
    m | u | n) refuse_size "the suffix $suffix means a fraction of a byte; M is a million bytes, Mi 1048576" ;;
    *) refuse_size "$form" ;;
  esac
  whole=${number%%.*}
  fraction=
  case $number in
    *.*) fraction=${number#*.} ;;
  esac
  # A leading zero would make it octal.
  whole=${whole#"${whole%%[!0]*}"}
  whole=${whole:-0}
  fraction=${fraction%"${fraction##*[!0]}"}
  if [ ${#whole} -gt 18 ]; then
    refuse_size "$too_large"
  fi
  if [ ${#fraction} -gt 14 ]; then
    refuse_size "it has more than 14 digits after the point"
  fi
  scale=1
  for digit in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do
    if [ "$digit" -le ${#fraction} ]; then
      scale=$((scale * 10))
    fi
  done
  fraction=${fraction#"${fraction%%[!0]*}"}
  fraction=${fraction:-0}
  while [ "$times" -gt 0 ]; do
    carried=$((fraction * base / scale))
    if [ "$whole" -gt $(((largest - carried) / base)) ]; then
      refuse_size "$too_large"
    fi
    whole=$((whole * base + carried))
    fraction=$((fraction * base % scale))
    times=$((times - 1))
  done
  if [ "$whole" -eq 0 ]; then
    refuse_size "it is less than a byte, and nginx takes 0 for no limit at all"
  fi
  bytes=$whole
}

# nginx asks name servers itself, at the time of a request: so it starts though the writer's Service is not there yet, and
# follows its address. But it reads no file about them, and completes no name.
find_writer() {
  # find_writer NAME: sets `servers` and `host`
  servers='' host=''
  while read -r keyword rest || [ -n "$keyword" ]; do
    case $keyword in
      nameserver)
        address=${rest%%[!0-9A-Fa-f.:]*}
        case $address in
          *:*) servers="$servers [$address]" ;;
          *) servers="$servers $address" ;;
        esac
        ;;
      search)
        for domain in $rest; do
          case $domain in
            *.svc.*) host=${host:-$1.$domain} ;;
          esac
        done
        ;;
    esac
  done <"$resolv"
  if [ -z "$servers" ] || [ -z "$host" ]; then
    refuse "WRITER is '$1', and $resolv names no domain of the cluster's Services, such as pypiserver.svc.cluster.local, \
to look it up in; the pod needs the dnsPolicy ClusterFirst"
  fi
}

# The workers of a master, or those that wait for a disk (in the state D) or for a file system in user space.
workers() {
  # workers MASTER [waiting]
  for process in /proc/[0-9]*; do
    # It may have ended meanwhile.
    { read -r pid name state parent _ <"$process/stat"; } 2>/dev/null || continue
    if [ "$name $parent" != "(nginx) $1" ]; then
      continue
    fi
    if [ -n "${2-}" ]; then
      where=
      # There is no end of line in it, which counts as a failure.
      { read -r where <"$process/wchan"; } 2>/dev/null || :
      case "$state $where" in
        D\ * | ?\ request_wait_answer) ;;
        *) continue ;;
      esac
    fi
    printf '%s ' "$pid"
  done
}

# nginx opens packages in its workers: those that wait for a volume which is away answer nobody. The server says so by a
# file; then new workers take their place, which open no package as long as it is there. Of the old ones those that go on
# waiting are killed, so that their other clients come again.
replace_workers() {
  # replace_workers MASTER
  old='' before=''
  while sleep 1 && kill -0 "$1" 2>/dev/null; do
    if [ ! -e "$away" ]; then
      old=''
    elif [ -z "$old" ]; then
      # Before it has written its number, nginx takes no signal.
      if [ -s "$pid_file" ]; then
        old=" $(workers "$1")" before=''
        kill -HUP "$1" || :
      fi
    else
      waiting=$(workers "$1" waiting)
      for worker in $waiting; do
        case "$old|$before" in
          *" $worker "*"|"*" $worker "*) kill -KILL "$worker" 2>/dev/null || : ;;
        esac
      done
      before=" $waiting"
    fi
  done
}

max_upload=${MAX_UPLOAD-1Gi}
uploads=${CONCURRENT_UPLOADS-20}
room=${UPLOAD_ROOM-}
prefix=${PATH_PREFIX-/}
proxies=${TRUSTED_PROXIES-}
removal=${ALLOW_REMOVAL-no}
ingress=${INGRESS-no}
writer=${WRITER-}
readers=${READERS-no}
level=${LOG_LEVEL-error}

read_size MAX_UPLOAD "$max_upload"
largest_upload=$bytes
case $uploads in
  [1-9] | [1-9][0-9] | 1[0-9][0-9] | 2[0-4][0-9] | 25[0-6]) ;;
  *) refuse "CONCURRENT_UPLOADS is '$uploads'; it must be a whole number from 1 to 256" ;;
esac
if [ -n "$room" ]; then
  read_size UPLOAD_ROOM "$room"
  fitting=$((bytes / largest_upload))
  if [ "$fitting" -eq 0 ]; then
    refuse "MAX_UPLOAD is '$max_upload' and UPLOAD_ROOM '$room': such an upload does not fit where it stands while it is \
received; make MAX_UPLOAD smaller, or that volume larger and UPLOAD_ROOM with it"
  fi
  if [ "$fitting" -lt "$uploads" ]; then
    echo "uploads that are received at once: $fitting, as no more of $max_upload fit into $room" >&2
    uploads=$fitting
  fi
fi
# No character of it is encoded in an address, or means something in a regular expression.
case $prefix in
  /) ;;
  /simple | /simple/* | /packages | /packages/* | /health | /health/* | /ready | /ready/* | /RPC2 | /RPC2/* | /upstream | /upstream/*)
    refuse "PATH_PREFIX is '$prefix'; the registry itself has what is there"
    ;;
  '' | [!/]* | */ | *//* | */-* | *[!A-Za-z0-9/_-]*)
    refuse "PATH_PREFIX is '$prefix'; it must be / or a path such as /pypi or /team-a/pypi, of letters, digits, - and _"
    ;;
esac
choice ALLOW_REMOVAL "$removal" no yes
choice INGRESS "$ingress" no yes
choice READERS "$readers" no yes
case $writer in
  *[!a-z0-9-]*) refuse "WRITER is '$writer'; it must be the name of a Service in the namespace of this pod" ;;
esac
# Not debug: that level writes what clients send as their passwords.
choice LOG_LEVEL "$level" info notice warn error crit
if [ "$ingress" = yes ] && [ -e "$files/server-tls.conf" ]; then
  refuse "INGRESS is 'yes' while HTTPS is on at the gateway: an Ingress speaks plain HTTP to this pod, whose plain port \
then answers the probes alone. Take out one of the two: leave HTTPS to the Ingress (component tls, without \
gateway-tls), or have none (without ingress)"
fi

# A container that starts again finds what its predecessor made.
rm -rf "$made"
rm -f "$pid_file"
mkdir -p "$made"
printf 'error_log stderr %s;\n' "$level" >"$made/main-log.conf"
printf 'client_max_body_size %s;\n' "$largest_upload" >"$made/upload-size.conf"
# shellcheck disable=SC2016 # a variable of nginx
printf 'map "" $max_upload {\n  default %s;\n}\n' "$max_upload" >"$made/http-upload-size.conf"
printf 'limit_conn publishes %s;\n' "$uploads" >"$made/publish-limit.conf"
if [ "$removal" = yes ]; then
  freshness=no-cache
else
  freshness=max-age=31536000
fi
# shellcheck disable=SC2016 # a variable of nginx
printf 'map "" $package_freshness {\n  default %s;\n}\n' "$freshness" >"$made/http-freshness.conf"

if [ -n "$writer" ]; then
  find_writer "$writer"
  scheme=http
  if [ -e "$files/server-tls.conf" ]; then
    scheme=https
  fi
  {
    printf 'resolver%s valid=5s;\nresolver_timeout 2s;\n' "$servers"
    # shellcheck disable=SC2016 # a variable of nginx
    printf 'map "" $writer {\n  default %s://%s;\n}\n' "$scheme" "$host"
  } >"$made/http-writer.conf"
  echo 'error_page 500 502 504 = @writer_away;' >"$made/publish-away.conf"
else
  # shellcheck disable=SC2016 # a variable of nginx
  printf 'map "" $writer {\n  default http://pypiserver;\n}\n' >"$made/http-writer.conf"
  echo 'error_page 500 502 504 =503 @away;' >"$made/publish-away.conf"
fi
if [ "$readers" = yes ]; then
  # In the place of all that is inherited: the line for the counters is the reader's.
  echo 'access_log /dev/stdout json;' >"$made/server-behind.conf"
fi

# An address is taken with its prefix and without: probes and whoever is in the cluster have none, and a proxy may have
# taken it off.
# shellcheck disable=SC2016 # variables of nginx
if [ "$prefix" = / ]; then
  printf 'map "" $prefix {\n  default "";\n}\nmap "" $address {\n  default $request_uri;\n}\n' >"$made/http-prefix.conf"
else
  {
    printf 'map "" $prefix {\n  default %s;\n}\n' "$prefix"
    printf 'map $request_uri $address {\n  default $request_uri;\n'
    printf '  "~^%s(?:\\?|$)" /;\n  "~^%s(?<below_prefix>/.*)$" $below_prefix;\n}\n' "$prefix" "$prefix"
  } >"$made/http-prefix.conf"
  {
    # What is rewritten may go where `internal` lets no client go: all of that is in /-/. Only what the maps take for the
    # prefix is one, not what is decoded to it.
    printf 'if ($request_uri ~ "^%s/") {\n  rewrite "^%s(/(?!-/).*)$" $1;\n}\n' "$prefix" "$prefix"
    # To this address too clients publish that were given it without a slash.
    printf 'if ($request_method = POST) {\n  rewrite "^%s$" /;\n}\n' "$prefix"
    printf 'location = %s {\n  return 301 %s/;\n}\n' "$prefix" "$prefix"
  } >"$made/server-prefix.conf"
fi

set -f
trusted=
: >"$made/http-proxies.conf"
for proxy in $proxies; do
  case $proxy in
    *[!0-9A-Fa-f.:/]*)
      refuse "TRUSTED_PROXIES has '$proxy'; it must be a list of addresses and networks, such as 10.0.0.0/8 fd00::/8"
      ;;
  esac
  trusted=yes
  printf 'set_real_ip_from %s;\n' "$proxy" >>"$made/http-proxies.conf"
  # Of a network by the address that the connection comes from, which the lines above replace for all others.
  networks="${networks-}  $proxy 1;
"
done
set +f
if [ -n "$trusted" ]; then
  {
    printf 'real_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n'
    # shellcheck disable=SC2016 # variables of nginx
    printf 'geo $realip_remote_addr $proxy_trusted {\n  default 0;\n%s}\n' "$networks"
  } >>"$made/http-proxies.conf"
else
  # shellcheck disable=SC2016 # a variable of nginx
  printf 'map "" $proxy_trusted {\n  default 1;\n}\n' >"$made/http-proxies.conf"
fi

# Also in a pod that has addresses of version 6 alone, or of both.
if [ -n "$(cat /proc/net/if_inet6 2>/dev/null)" ]; then
  echo 'listen [::]:8080 backlog=4096;' >"$made/server-ipv6.conf"
  if [ -e "$files/server-tls.conf" ]; then
    echo 'listen [::]:8443 ssl http2 backlog=4096;' >>"$made/server-ipv6.conf"
  fi
  echo 'listen [::]:9090;' >"$made/metrics-ipv6.conf"
fi

# What nginx refuses would otherwise be in its log alone.
if ! problem=$(nginx -t -q -e stderr -c "$files/nginx.conf" "$@" 2>&1); then
  refuse "nginx refuses its configuration: $problem"
fi
replace_workers $$ &
exec nginx -e stderr -c "$files/nginx.conf" -g 'daemon off;' "$@"
