"""The cell: a process that holds the candidate and nothing that judges it.

isolation   what the process may reach: no network, files read-only, no view of the problem
protocol    what travels between the two processes: JSON, and tensors as raw bytes
prints      what a tensor holds, as one number
inside      the loop that serves commands in the cell
outside     the judge's handle on a cell
"""
