"""The command `yumen demo-upstream`."""

import click

from control_plane.demo.upstream import run


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9090, show_default=True, help="Port; 0 takes a free one.")
def demo_upstream(host: str, port: int) -> None:
    r"""Serve the OpenAI API with made-up answers; there is no AI model in it.

    A prompt may hold `[demo name=value …]`:

    \b
      status=429     fail with this HTTP status
      chunks=20      answer with so many words
      delay_ms=50    wait before the answer; in a stream, before every chunk
      cut_after=3    break the connection after so many chunks
      usage=0        leave the usage counts out
      gzip=1         compress the answer although nobody asked for it
      echo=1         answer with the request's body

    GET /demo/requests lists the requests that arrived.
    """

    def on_listening(real_port: int) -> None:
        click.echo(f"Made-up answers (no AI model) on http://{host}:{real_port}/v1")

    run(host, port, on_listening)
