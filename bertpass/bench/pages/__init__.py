"""Result files as pages for people: charts, comparisons, prices."""
