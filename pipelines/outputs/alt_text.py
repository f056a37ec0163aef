"""Alternative text as photograph managers and publishing systems read it: an XMP packet (ISO 16684-1).

The properties are those of the IPTC Photo Metadata Standard 2021.1: `AltTextAccessibility`, short enough for a screen
reader, `ExtDescrAccessibility`, all of it, and Dublin Core's `description`. An image of which nothing sure can be said
has an empty alternative text, as a decorative image has on a web page (WCAG 2.2, technique H67).
"""

import re
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

MOST_LETTERS = 250
"""Letters of an `AltTextAccessibility`, as the standard recommends."""

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_X, _RDF = "adobe:ns:meta/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC, _IPTC = "http://purl.org/dc/elements/1.1/", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
_NAMES = {
    "x": _X,
    "rdf": _RDF,
    "dc": _DC,
    "Iptc4xmpCore": _IPTC,
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
}
_OURS = (f"{{{_DC}}}description", f"{{{_IPTC}}}AltTextAccessibility", f"{{{_IPTC}}}ExtDescrAccessibility")

HEAD = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" \
xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">
"""
OLDER_HEAD = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
"""
"""The beginning of packets that version 0.1 wrote, which held the description alone."""
TAIL = """  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
_PROPERTY = '   <{0}><rdf:Alt><rdf:li xml:lang="x-default">{1}</rdf:li></rdf:Alt></{0}>\n'


class PacketError(ValueError):
    """A photograph's XMP cannot be read, so that nothing can be added to it."""


def shortened(text: str) -> str:
    """A text of at most `MOST_LETTERS`, cut behind a sentence, else a word."""
    if len(text) <= MOST_LETTERS:
        return text
    head = text[:MOST_LETTERS]
    sentence = max(head.rfind(end) for end in (". ", "! ", "? "))
    if sentence > MOST_LETTERS // 3:
        return head[: sentence + 1]
    return f"{text[: MOST_LETTERS - 1].rsplit(' ', 1)[0]}…"


def packet(caption: str) -> str:
    """The XMP of a caption; of an empty one, that the image is decorative."""
    # Control characters have no place in XML, escaped or not.
    clean = _NOT_XML.sub("\ufffd", caption)
    properties = [("Iptc4xmpCore:AltTextAccessibility", shortened(clean))]
    if clean:
        properties += [("Iptc4xmpCore:ExtDescrAccessibility", clean), ("dc:description", clean)]
    return HEAD + "".join(_PROPERTY.format(name, escape(text)) for name, text in properties) + TAIL


def merged(existing: bytes, caption: str) -> bytes:
    """A photograph's XMP with the properties of a caption in the place of its own of the same names.

    Raises:
        PacketError: if it is no XMP, or holds declarations of XML, which XMP never needs.
    """
    if b"<!" in existing.replace(b"<!--", b""):
        raise PacketError("its XMP holds declarations")
    text = existing.decode("utf-8", "replace").strip("\ufeff\0 \r\n\t")
    text = re.sub(r"<\?xpacket[^>]*\?>", "", text)
    for prefix, uri in _NAMES.items():
        ET.register_namespace(prefix, uri)
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise PacketError(f"its XMP cannot be read: {error}") from error
    graph = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
    if graph is None:
        raise PacketError("its XMP holds no RDF")
    for described in graph.findall(f"{{{_RDF}}}Description"):
        for name in _OURS:
            described.attrib.pop(name, None)
            for found in described.findall(name):
                described.remove(found)
    added = ET.fromstring(re.sub(r"<\?xpacket[^>]*\?>", "", packet(caption)).strip()).find(f"{{{_RDF}}}RDF")
    if added is not None:
        graph.extend(list(added))
    body = ET.tostring(root, encoding="unicode")
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{body}\n<?xpacket end="w"?>'.encode()
