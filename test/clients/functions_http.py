"""/v1/functions of a node, by urllib."""
import base64
import http.client
import json
import urllib.error
import urllib.request


def ask(node, path, body=None, user=None, method=None, **headers):
    """(status, body, headers) of a request to /v1/functions."""
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:".encode()).decode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://{node.http}/v1/functions{path}", data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def put(node, name, module, user="test"):
    """Creates or replaces a function; gives what is told of it."""
    status, body, _ = ask(node, f"/{name}", module, user)
    assert status == 200, body
    return json.loads(body)


def claim_body_of(node, size):
    """The status of a POST whose head says that `size` bytes follow; none do."""
    host, port = node.http.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.putrequest("POST", "/v1/functions/large")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    return connection.getresponse().status
