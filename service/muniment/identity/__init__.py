"""Who is asking: tokens of OpenID Connect issuers, their keys, and subjects from their claims."""
