"""Compositions that have, between them, every chart and every component that makes pods or changes their containers."""

EVERYTHING = {
    "local": ["initial-password", "monitoring", "retention", "backup", "copy", "ldap", "audit", "network-policy-ldap"],
    "shared": ["ha", "upstream", "monitoring-upstream", "ingress", "tls", "permissions"],
    "s3-csi": ["gateway-tls", "retention-gateway-tls", "backup-gateway-tls", "network-policy-readers"],
    "object-store": ["copy", "retention", "monitoring", "backup-object-store", "anonymous-reads"],
}
