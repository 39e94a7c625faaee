"""Files that come from elsewhere: fetched once however many ask, verified, and kept on a bounded volume."""
