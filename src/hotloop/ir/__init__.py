"""The intermediate representation: rows, graph, program, and their definition, the reference."""
