"""A small shop: a page with goods and their prices, and the same as JSON."""
import argparse

import flask
import shopkit

VERSION = "1.0"
GREETING = "Welcome to the shop"
GOODS = {"anchor": 4900, "compass": 1250, "lantern": 799}

app = flask.Flask(__name__)


@app.get("/")
def page():
    return flask.render_template("page.html", greeting=GREETING, goods=GOODS, price=shopkit.price)


@app.get("/goods.json")
def goods():
    return flask.jsonify({name: shopkit.price(cents) for name, cents in GOODS.items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", action="version", version="shop " + VERSION)
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    app.run(host="0.0.0.0", port=options.port)
