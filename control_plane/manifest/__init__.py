"""The whole configuration as text: `yumen export` writes it, `yumen apply` makes it so."""
