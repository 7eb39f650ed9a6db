"""A bank on the other side that speaks ISO 20022 with tools of its own: it writes what it sends from
templates, under prefixes and business application headers as banks use them, and reads what it gets with the
schemas' classes and XSDs of public packages, never with the code under test.
"""

import importlib
from pathlib import Path

from lxml import etree
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from tests.adapters_kit import NAMESPACE, check_schema

OURS = "ABABCZPP"
ITS_OWN = "CDCDDEFF"
DAY = "2026-01-30"


def _prefixed(text: str, prefix: str, version: str) -> str:
    """Elements written without prefix, under one."""
    found = text.replace("<", f"<{prefix}:").replace(f"<{prefix}:/", f"</{prefix}:")
    return found.replace(f"<{prefix}:Document>", f'<{prefix}:Document xmlns:{prefix}="{NAMESPACE}{version}">')


def in_envelope(document: str, kind: str, message_id: str) -> str:
    """A message behind its business application header, as networks carry it."""
    head = f"""<AppHdr><Fr><FIId><FinInstnId><BICFI>{ITS_OWN}</BICFI></FinInstnId></FIId></Fr>
<To><FIId><FinInstnId><BICFI>{OURS}</BICFI></FinInstnId></FIId></To><BizMsgIdr>{message_id}</BizMsgIdr>
<MsgDefIdr>{kind}</MsgDefIdr><BizSvc>network.02</BizSvc><CreDt>{DAY}T09:00:00+00:00</CreDt></AppHdr>"""
    head = head.replace("<", "<h:").replace("<h:/", "</h:")
    head = head.replace("<h:AppHdr>", f'<h:AppHdr xmlns:h="{NAMESPACE}head.001.001.02">')
    return f'<?xml version="1.0"?>\n<BusMsgEnvlp xmlns="urn:a:network">{head}\n{document}</BusMsgEnvlp>\n'


def customers_file(message_id: str, payer: str, payee: str, amounts: list[str]) -> str:
    """A pain.001.001.03 of a customer of ours, as accounting programs still write it."""
    total = f"{sum(round(float(each) * 100) for each in amounts) / 100:.2f}"
    transfers = "".join(
        f"""<CdtTrfTxInf><PmtId><EndToEndId>{message_id}-{number}</EndToEndId></PmtId>
<Amt><InstdAmt Ccy="CZK">{amount}</InstdAmt></Amt>
<CdtrAgt><FinInstnId><BIC>{ITS_OWN}</BIC></FinInstnId></CdtrAgt>
<Cdtr><Nm>Payee {number}</Nm></Cdtr><CdtrAcct><Id><IBAN>{payee}</IBAN></Id></CdtrAcct>
<RmtInf><Ustrd>Invoice {number}</Ustrd></RmtInf></CdtTrfTxInf>"""
        for number, amount in enumerate(amounts, 1)
    )
    text = f"""<Document><CstmrCdtTrfInitn><GrpHdr><MsgId>{message_id}</MsgId>
<CreDtTm>{DAY}T09:00:00</CreDtTm>
<NbOfTxs>{len(amounts)}</NbOfTxs><CtrlSum>{total}</CtrlSum><InitgPty><Nm>Payer</Nm></InitgPty></GrpHdr>
<PmtInf><PmtInfId>{message_id}-P</PmtInfId><PmtMtd>TRF</PmtMtd><ReqdExctnDt>{DAY}</ReqdExctnDt>
<Dbtr><Nm>Payer</Nm></Dbtr><DbtrAcct><Id><IBAN>{payer}</IBAN></Id></DbtrAcct>
<DbtrAgt><FinInstnId><BIC>{OURS}</BIC></FinInstnId></DbtrAgt>{transfers}</PmtInf></CstmrCdtTrfInitn></Document>"""
    return _prefixed(text, "p", "pain.001.001.03")


def interbank(message_id: str, payer: str, payee: str, amount: str, uetr: str) -> str:
    """A pacs.008.001.08 of one payment, in its envelope."""
    text = f"""<Document><FIToFICstmrCdtTrf><GrpHdr><MsgId>{message_id}</MsgId>
<CreDtTm>{DAY}T09:00:00+00:00</CreDtTm><NbOfTxs>1</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf></GrpHdr>
<CdtTrfTxInf><PmtId><InstrId>{message_id}-I</InstrId><EndToEndId>{message_id}-E</EndToEndId><UETR>{uetr}</UETR>
</PmtId><IntrBkSttlmAmt Ccy="CZK">{amount}</IntrBkSttlmAmt><IntrBkSttlmDt>{DAY}</IntrBkSttlmDt>
<ChrgBr>SHAR</ChrgBr><Dbtr><Nm>Payer</Nm></Dbtr><DbtrAcct><Id><IBAN>{payer}</IBAN></Id></DbtrAcct>
<DbtrAgt><FinInstnId><BICFI>{OURS}</BICFI></FinInstnId></DbtrAgt>
<CdtrAgt><FinInstnId><BICFI>{ITS_OWN}</BICFI></FinInstnId></CdtrAgt><Cdtr><Nm>Payee</Nm></Cdtr>
<CdtrAcct><Id><IBAN>{payee}</IBAN></Id></CdtrAcct></CdtTrfTxInf></FIToFICstmrCdtTrf></Document>"""
    return in_envelope(_prefixed(text, "pacs", "pacs.008.001.08"), "pacs.008.001.08", message_id)


def recall(message_id: str, of: str, uetr: str, amount: str) -> str:
    """A camt.056.001.08 that asks for a payment back, in its envelope."""
    text = f"""<Document><FIToFIPmtCxlReq><Assgnmt><Id>{message_id}</Id>
<Assgnr><Agt><FinInstnId><BICFI>{ITS_OWN}</BICFI></FinInstnId></Agt></Assgnr>
<Assgne><Agt><FinInstnId><BICFI>{OURS}</BICFI></FinInstnId></Agt></Assgne><CreDtTm>{DAY}T10:00:00+00:00</CreDtTm>
</Assgnmt><Undrlyg><TxInf><CxlId>{message_id}-C</CxlId><Case><Id>{message_id}-K</Id>
<Cretr><Agt><FinInstnId><BICFI>{ITS_OWN}</BICFI></FinInstnId></Agt></Cretr></Case>
<OrgnlGrpInf><OrgnlMsgId>{of}</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId></OrgnlGrpInf>
<OrgnlEndToEndId>{of}-E</OrgnlEndToEndId><OrgnlUETR>{uetr}</OrgnlUETR>
<OrgnlIntrBkSttlmAmt Ccy="CZK">{amount}</OrgnlIntrBkSttlmAmt><OrgnlIntrBkSttlmDt>{DAY}</OrgnlIntrBkSttlmDt>
<CxlRsnInf><Rsn><Cd>DUPL</Cd></Rsn></CxlRsnInf></TxInf></Undrlyg></FIToFIPmtCxlReq></Document>"""
    return in_envelope(_prefixed(text, "c", "camt.056.001.08"), "camt.056.001.08", message_id)


def returned(message_id: str, of: str, uetr: str, amount: str) -> str:
    """A pacs.004.001.09 that gives a payment back, in its envelope."""
    text = f"""<Document><PmtRtr><GrpHdr><MsgId>{message_id}</MsgId><CreDtTm>{DAY}T11:00:00+00:00</CreDtTm>
<NbOfTxs>1</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf></GrpHdr><TxInf><RtrId>{message_id}-R</RtrId>
<OrgnlGrpInf><OrgnlMsgId>{of}</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId></OrgnlGrpInf>
<OrgnlEndToEndId>{of}-E</OrgnlEndToEndId><OrgnlUETR>{uetr}</OrgnlUETR>
<OrgnlIntrBkSttlmAmt Ccy="CZK">{amount}</OrgnlIntrBkSttlmAmt>
<RtrdIntrBkSttlmAmt Ccy="CZK">{amount}</RtrdIntrBkSttlmAmt><IntrBkSttlmDt>{DAY}</IntrBkSttlmDt>
<RtrRsnInf><Rsn><Cd>DUPL</Cd></Rsn></RtrRsnInf></TxInf></PmtRtr></Document>"""
    return in_envelope(_prefixed(text, "r", "pacs.004.001.09"), "pacs.004.001.09", message_id)


def notification(message_id: str, account: str, amount: str) -> str:
    """A camt.054.001.04 that tells its customer of a credit."""
    text = f"""<Document><BkToCstmrDbtCdtNtfctn><GrpHdr><MsgId>{message_id}</MsgId>
<CreDtTm>{DAY}T12:00:00</CreDtTm></GrpHdr><Ntfctn><Id>{message_id}-N</Id><CreDtTm>{DAY}T12:00:00</CreDtTm>
<Acct><Id><IBAN>{account}</IBAN></Id><Ccy>CZK</Ccy></Acct><Ntry><Amt Ccy="CZK">{amount}</Amt>
<CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>{DAY}</Dt></BookgDt></Ntry></Ntfctn>
</BkToCstmrDbtCdtNtfctn></Document>"""
    return _prefixed(text, "n", "camt.054.001.04")


def texts(path: Path, version: str, name: str) -> list[str]:
    """Every text of an element of a message that it was sent: valid by the full XSD where a package carries
    it, else read by the classes made from the schema, which refuse what they do not know.
    """
    raw = path.read_bytes()
    tree = etree.fromstring(raw)
    assert etree.QName(tree).namespace == NAMESPACE + version
    if version[:8] in {"pacs.008", "camt.054"}:
        check_schema(raw, version)
    else:
        module = importlib.import_module(f"pyiso20022.{version[:4]}.{version.replace('.', '_')}")
        strict = ParserConfig(fail_on_unknown_properties=True, fail_on_unknown_attributes=True)
        XmlParser(config=strict).from_bytes(raw, module.Document)
    return [element.text or "" for element in tree.iter(f"{{*}}{name}")]
