def write_report(folder, summary):
    pass
