"""What a shop needs: prices as text."""


def price(cents):
    return "%d.%02d EUR" % divmod(cents, 100)
