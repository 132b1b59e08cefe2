"""The one guarded way out: addresses, resolver, proxies, reply POST and media download, on aiohttp's public surface."""
