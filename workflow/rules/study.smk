if study is not None:

    include: "study_runs.smk"

else:

    rule study:
        input:
            refused,
