"""Networks that read several towers at once."""
