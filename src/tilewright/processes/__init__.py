"""Starting processes that find torch already imported.

start    `start`: a module's `main` in a process of its own, and the handle on it
server   the process that has imported torch and forks a child for each start
child    what a process does with itself before its `main` runs
messages what these say to one another
"""
