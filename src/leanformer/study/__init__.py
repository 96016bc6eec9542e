"""What every study stands on: jobs and where they run, a directory that is continued, an estimate beforehand."""
