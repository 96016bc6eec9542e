"""Figures as PDF: one beside each SVG, only if asked for, and equal for equal records."""

from leanformer.reporting.write import write_report


def test_a_pdf_stands_beside_each_svg_and_has_no_date(fabricate):
    directory = fabricate(effects={"dot_product": 0.0, "pairwise": -0.05}, seeds=(1, 2))
    write_report(directory)
    figures = directory / "figures"
    assert not list(figures.glob("*.pdf"))
    write_report(directory, ["pdf"])
    first = {file.name: file.read_bytes() for file in figures.glob("*.pdf")}
    assert {file.stem for file in figures.glob("*.svg")} == {name.removesuffix(".pdf") for name in first}
    for content in first.values():
        assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
        assert b"CreationDate" not in content and b"/FontFile2" in content
    write_report(directory, ["pdf"])
    assert {file.name: file.read_bytes() for file in figures.glob("*.pdf")} == first
