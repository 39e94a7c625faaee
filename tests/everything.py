"""Compositions that have, between them, every chart and every component that makes pods or changes their containers."""

EVERYTHING = {
    "local": (
        "local",
        ["initial-password", "monitoring", "retention", "backup", "copy", "ldap", "audit", "network-policy-ldap"],
    ),
    "shared": (
        "shared",
        ["ha", "upstream", "monitoring-upstream", "ingress", "tls", "permissions", "anonymous-projects"],
    ),
    "s3-csi": ("s3-csi", ["gateway-tls", "retention-gateway-tls", "backup-gateway-tls", "network-policy-readers"]),
    "object-store": ("object-store", ["copy", "retention", "monitoring", "backup-object-store", "anonymous-reads"]),
    "object-store-by-https": ("object-store", ["gateway-tls", "backup-object-store-gateway-tls"]),
}
"""The chart and the components, by a name."""
