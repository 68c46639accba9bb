"""The local page: what this site is like now, for whoever stands before it with a laptop, a phone or a tablet.

    server.py   the web server in the daemon's loop: sockets, limits, whoever is slow goes
    app.py      addresses, who may do what, and what goes out with each answer
    budget.py   how much of the loop's time all that may take
    people.py   names, passwords, sessions
    stream.py   what changed on a page, once a second, to everybody who has it open
    pages.py    the pages, as functions of what is known now; boards.py, records.py: more of them
    glance.py   what is known now, as rows
    figures.py  drawings: bars with limits, trends, the shapes of alarms
    texts.py    what is written on it, in two languages
    markup.py   HTML that is never put together from bare text
    metrics.py  the same for Prometheus
    static/     one style sheet, one script

Whatever a person does here goes the way of the Unix socket (`control.py`), with the person's name. Nothing here
judges, keeps, or is waited for: the page may die, and comes back.
"""
