"""The configuration of README.md, run as it stands: without an agent, the bot repeats what it receives."""

from __future__ import annotations

import json
import re
from pathlib import Path

from maven_channel_wecom.simulator.messages import Text
from maven_channel_wecom.simulator.wecom import SimulatedWeCom
from tests.e2e.gateway_process import GatewayProcess
from tests.suite_watch import SUITE, new_encoding_aes_key, new_token

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


async def test_the_example_of_the_readme_answers(tmp_path: Path) -> None:
    """Only its ports are free ones, and the simulator needs the private network."""
    found = re.search(r"<!-- example: wecom.json -->\s*```json\n(.*?)```", README, re.DOTALL)
    assert found
    document = json.loads(found[1])
    assert "agent" not in document
    entry = document["channels"]["wecom"] | {"port": 0, "host": "127.0.0.1", "allowPrivateNetwork": True}
    document |= {"gateway": {"port": 0}, "channels": {"wecom": entry}}
    token, key = new_token(), new_encoding_aes_key()
    environment = {"WECOM_TOKEN": token, "WECOM_ENCODING_AES_KEY": key}
    async with GatewayProcess(SUITE.watch, tmp_path, document, environment=environment) as gateway:
        port = await gateway.port_of("wecom callback server listening")
        url = f"http://127.0.0.1:{port}/wecom/bot"
        async with SimulatedWeCom(url, token=token, encoding_aes_key=key) as wecom:
            assert (await wecom.check_url()).passed
            sent = await wecom.send(Text("@My Bot hello"), user="alice", group="wr1")
            assert (await sent.reply()).content == "hello"
            assert wecom.recorded.offences == []
        gateway.terminate()
        assert await gateway.exit_code() == 0
    assert (tmp_path / "wecom.db").exists()
