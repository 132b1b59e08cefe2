"""What touches the network: bytes only, no rule of WeCom and none of ours."""
