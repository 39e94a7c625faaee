#!/bin/sh
# Makes httpd's configuration of the container's environment, refuses what cannot work, and runs httpd.
#
#   LDAP_SERVERS         hosts, each with a port or at the usual one, separated by spaces; the first that answers is asked.
#   LDAP_SECURITY        ldaps, starttls, or none for a directory that is spoken to in the clear. Default ldaps.
#   LDAP_BASE            where users are searched below: ou=people,dc=example,dc=org.
#   LDAP_USER_ATTRIBUTE  what of a user is the name to log in with: uid, sAMAccountName. Default uid.
#   LDAP_USER_FILTER     filter that a user matches besides. Default (objectClass=*).
#   LDAP_BIND_DN         who searches, with the password in the Secret; none if LDAP_BIND_TEMPLATE is set.
#   LDAP_BIND_TEMPLATE   who a user is to the directory, $1 being the name: uid=$1,ou=people,dc=example,dc=org.
#   LDAP_READERS         groups whose members may read, a name a line, or * for every user. Default none.
#   LDAP_PUBLISHERS      groups whose members may publish and read, a name a line. Default none.
#   LDAP_GROUPS          groups of the permissions, a line each: its name there, a blank and its name in the directory.
#                        Default none.
#   LDAP_MEMBERSHIP      member: a group names its members; memberOf: a user names the groups; in-chain: the same with
#                        groups in groups, by the rule of Active Directory. Default member.
#   LDAP_GROUP_ATTRIBUTE what of a group names its members. Default member.
#   LDAP_NESTED_GROUPS   how deep groups in groups are followed with member. Default 0.
#   LDAP_CONNECT_SECONDS how long each server may take to accept a connection. Default 2.
#   LDAP_ANSWER_SECONDS  how long the directory may take to answer. Default 4.
#
# POSIX sh, for busybox and dash.
set -eu

# The first process of a container is told to end in vain if it does not say what then. WINCH is the image's stop signal.
trap 'exit 0' TERM WINCH INT

# Not by its name: some shells have an httpd of their own.
httpd=/usr/local/apache2/bin/httpd
files=/etc/pypiserver/ldap
ca=/etc/pypiserver/ldap-ca/ca.crt
password=/etc/pypiserver/ldap-bind/password
made=/tmp/ldap
termination_log=/dev/termination-log

refuse() {
  printf 'the container ldap cannot start: %s\n' "$1" >&2
  if [ -w "$termination_log" ]; then
    printf '%s\n' "$1" >"$termination_log"
  fi
  exit 1
}

# What httpd would not take as text: variables of its own, and the end of a line.
plain() {
  # plain NAME VALUE
  case $2 in
    *[[:cntrl:]]* | *'${'* | *'%{'* | *'"'*) refuse "$1 is '$2'; it must be one line without \", \${ and %{" ;;
  esac
}

number() {
  # number NAME VALUE LEAST MOST
  case $2 in
    '' | *[!0-9]* | ?????*) refuse "$1 is '$2'; it must be a whole number from $3 to $4" ;;
  esac
  if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
    refuse "$1 is '$2'; it must be a whole number from $3 to $4"
  fi
}

# In quotes of httpd, a backslash is one of two.
quoted() { printf '%s' "$1" | sed 's/\\/\\\\/g'; }
# As a part of an LDAP URL.
in_url() { printf '%s' "$1" | sed 's/%/%25/g; s/?/%3f/g; s/ /%20/g; s/#/%23/g; s/\\/%5c/g'; }
# As a value in a filter, whose backslashes httpd takes for its own.
in_filter() { printf '%s' "$1" | sed 's/\\/\\\\5c/g; s/\*/\\\\2a/g; s/(/\\\\28/g; s/)/\\\\29/g'; }

servers=${LDAP_SERVERS-}
security=${LDAP_SECURITY-ldaps}
base=${LDAP_BASE-}
attribute=${LDAP_USER_ATTRIBUTE-uid}
filter=${LDAP_USER_FILTER-(objectClass=*)}
bind=${LDAP_BIND_DN-}
template=${LDAP_BIND_TEMPLATE-}
readers=${LDAP_READERS-}
publishers=${LDAP_PUBLISHERS-}
groups_of_rules=${LDAP_GROUPS-}
membership=${LDAP_MEMBERSHIP-member}
group_attribute=${LDAP_GROUP_ATTRIBUTE-member}
nested=${LDAP_NESTED_GROUPS-0}
connect=${LDAP_CONNECT_SECONDS-2}
answer=${LDAP_ANSWER_SECONDS-4}

case $servers in
  '' | *[!A-Za-z0-9.:\ -]*)
    refuse "LDAP_SERVERS is '$servers'; it must be hosts, with ports or without, such as 'ldap1.example.org ldap2.example.org:636'"
    ;;
esac
case $security in
  ldaps) scheme=ldaps mode=SSL ;;
  starttls) scheme=ldap mode=STARTTLS ;;
  none) scheme=ldap mode=NONE ;;
  *) refuse "LDAP_SECURITY is '$security'; it must be one of: ldaps starttls none" ;;
esac
if [ -z "$base" ]; then
  refuse "LDAP_BASE is ''; it must be where users are searched below, such as ou=people,dc=example,dc=org"
fi
for name in attribute group_attribute; do
  eval "value=\$$name"
  case $value in
    '' | *[!A-Za-z0-9-]*) refuse "LDAP_USER_ATTRIBUTE or LDAP_GROUP_ATTRIBUTE is '$value'; it must be a name such as uid" ;;
  esac
done
plain LDAP_BASE "$base"
plain LDAP_BIND_DN "$bind"
plain LDAP_BIND_TEMPLATE "$template"
plain LDAP_USER_FILTER "$filter"
case $filter in
  \(*\)) ;;
  *) refuse "LDAP_USER_FILTER is '$filter'; it must be a filter such as (objectClass=person)" ;;
esac
case $membership in
  member | memberOf | in-chain) ;;
  *) refuse "LDAP_MEMBERSHIP is '$membership'; it must be one of: member memberOf in-chain" ;;
esac
number LDAP_NESTED_GROUPS "$nested" 0 20
number LDAP_CONNECT_SECONDS "$connect" 1 60
number LDAP_ANSWER_SECONDS "$answer" 1 60
if [ -n "$bind" ] && [ -n "$template" ]; then
  refuse "LDAP_BIND_TEMPLATE is '$template'; it must be left out with LDAP_BIND_DN ('$bind')"
elif [ -z "$bind$template" ]; then
  refuse "LDAP_BIND_DN is ''; it must be who searches for users, or LDAP_BIND_TEMPLATE be set"
elif [ -n "$bind" ] && [ ! -s "$password" ]; then
  refuse "$password is missing or empty; make the Secret that is mounted there, with the key password of $bind"
fi
case $template in
  '' | *\$1*) ;;
  *) refuse "LDAP_BIND_TEMPLATE is '$template'; it must have \$1 for the name of the user" ;;
esac
if [ "$security" != none ] && ! grep -q -e '-----BEGIN CERTIFICATE-----' "$ca" 2>/dev/null; then
  refuse "$ca is missing or has no certificate; make the ConfigMap or Secret that is mounted there, with the key ca.crt"
fi
if [ -z "$readers$publishers" ]; then
  refuse "LDAP_READERS and LDAP_PUBLISHERS are ''; one of them must name a group, or nobody is let in"
fi

printf '%s\n' "$groups_of_rules" | while IFS=' ' read -r name group; do
  case "$name" in
    *[!A-Za-z0-9._-]*) refuse "LDAP_GROUPS has '$name $group'; it must be a name, a blank and a distinguished name" ;;
  esac
  if [ -n "$name" ] && [ -z "$group" ]; then
    refuse "LDAP_GROUPS has '$name'; it must be a name, a blank and a distinguished name"
  fi
done

address="$scheme://$servers"
where="$address/$(in_url "$base")?$attribute?sub?$(in_url "$filter")"

# Who asks the directory, and how; each path has it all, since httpd merges nothing of it.
as_whom() {
  # as_whom URL
  printf '  AuthLDAPURL "%s" %s\n  LDAPReferrals Off\n' "$1" "$mode"
  if [ -n "$bind" ]; then
    printf '  AuthLDAPBindDN "%s"\n  AuthLDAPBindPassword "exec:/bin/cat %s"\n' "$(quoted "$bind")" "$password"
  else
    printf '  AuthLDAPInitialBindAsUser On\n  AuthLDAPInitialBindPattern "^([^,+\\"\\\\<>;=#]+)$" "%s"\n' "$(quoted "$template")"
    printf '  AuthLDAPSearchAsUser On\n  AuthLDAPCompareAsUser On\n'
  fi
  printf '  AuthLDAPGroupAttribute %s\n  AuthLDAPMaxSubGroupDepth %s\n' "$group_attribute" "$nested"
  printf '  AuthLDAPSubGroupAttribute %s\n' "$group_attribute"
  printf '  AuthLDAPSubGroupClass groupOfNames\n  AuthLDAPSubGroupClass groupOfUniqueNames\n  AuthLDAPSubGroupClass group\n'
}

# Who is in one of these groups.
members() {
  # members NAME GROUPS
  printf '%s\n' "$2" | while IFS= read -r group; do
    if [ -z "$group" ]; then
      continue
    fi
    plain "$1" "$group"
    case $membership in
      member) printf '    Require ldap-group %s\n' "$(quoted "$group")" ;;
      memberOf) printf '    Require ldap-filter memberOf=%s\n' "$(in_filter "$group")" ;;
      in-chain) printf '    Require ldap-filter memberOf:1.2.840.113556.1.4.1941:=%s\n' "$(in_filter "$group")" ;;
    esac
  done
}

role() {
  # role NAME REQUIREMENTS
  printf '<Location "/%s">\n  AuthType Basic\n  AuthName pypiserver\n  AuthBasicProvider ldap\n' "$1"
  printf '  AuthzSendForbiddenOnFailure On\n'
  as_whom "$where"
  printf '  <RequireAny>\n%s\n  </RequireAny>\n</Location>\n' "$2"
  : >"$made/answers/$1"
}

# Whether an entry without others below it is there for the account that searches (httpd knows no search of one entry
# alone); 403 comes with what is to be said of it.
checks=0
check() {
  # check DN WORDS
  printf '<Location "/check/%s">\n  AuthzSendForbiddenOnFailure On\n' "$checks"
  as_whom "$address/$(in_url "$1")?objectClass?sub"
  printf '  Require ldap-search (objectClass=*)\n  ErrorDocument 403 "%s"\n</Location>\n' "$(quoted "$2")"
  : >"$made/answers/check/$checks"
  checks=$((checks + 1))
}

# A container that starts again finds what its predecessor made.
rm -rf "$made"
mkdir -p "$made/answers/check" "$made/answers/group"
may_publish=$(members LDAP_PUBLISHERS "$publishers")
if [ "$readers" = '*' ]; then
  may_read='    Require valid-user'
else
  may_read=$(members LDAP_READERS "$readers")
fi
{
  printf 'LDAPConnectionTimeout %s\nLDAPTimeout %s\n' "$connect" "$answer"
  if [ "$security" != none ]; then
    printf 'LDAPTrustedGlobalCert CA_BASE64 %s\n' "$ca"
  fi
  role reader "$may_read
$may_publish"
  role publisher "${may_publish:-    Require all denied}"
  printf '%s\n' "$groups_of_rules" | while IFS=' ' read -r name group; do
    if [ -n "$name" ]; then
      role "group/$name" "$(members LDAP_GROUPS "$group")"
    fi
  done
  if [ -n "$bind" ]; then
    check "$bind" "$address does not answer, its certificate is not from $ca or not for its name, the password of '$bind' is wrong, or that may not see itself"
    for list in readers publishers; do
      eval "groups=\$$list"
      if [ "$groups" != '*' ]; then
        # Not in a subshell: the checks are counted.
        while IFS= read -r group; do
          if [ -n "$group" ]; then
            check "$group" "$list ('$group') is no group that $bind sees: nobody is let in by it"
          fi
        done <<END
$groups
END
      fi
    done
    while IFS=' ' read -r name group; do
      if [ -n "$name" ]; then
        check "$group" "the group $name of the permissions ('$group') is no group that $bind sees: nobody is in it"
      fi
    done <<END
$groups_of_rules
END
  fi
} >"$made/directory.conf"

# What httpd refuses would otherwise be in its log alone.
if ! problem=$("$httpd" -t -f "$files/httpd.conf" 2>&1); then
  refuse "httpd refuses its configuration: $problem"
fi

# Not exec: as the first process httpd would wonder at every child of this shell that ends.
"$httpd" -DFOREGROUND -f "$files/httpd.conf" &
server=$!
trap 'kill -TERM "$server" 2>/dev/null || :' TERM WINCH INT

# Both are read at the start alone; a changed Secret or ConfigMap is there after a minute or two.
seen() { cat "$ca" "$password" 2>/dev/null | cksum; }
before=$(seen)
while kill -0 "$server" 2>/dev/null; do
  sleep 5 &
  wait $! || :
  now=$(seen)
  if [ "$now" != "$before" ] && "$httpd" -t -f "$files/httpd.conf" 2>/dev/null; then
    before=$now
    kill -USR1 "$server" || :
  fi
done
wait "$server"
