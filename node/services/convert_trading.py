"""The words of trading, registration and servicing as protobuf (convert.py says what always holds)."""

from contracts.deals import Accounts, Conditions, NamedDeal, NamedOffer
from contracts.settlement_cycles import NamedCycle
from contracts.terms import Entry, NamedAction, NamedApplication, NamedClaim, NamedOrder, Terms
from node.pb.vostro.product.v1 import product_pb2
from node.pb.vostro.trading.v1 import trading_pb2 as pb


def offer(named: NamedOffer) -> pb.Offer:
    """An offer with its maker and id."""
    found = named.offer
    return pb.Offer(
        id=named.id,
        maker=named.maker,
        kind=found.kind,
        side=found.side,
        asset=found.asset,
        lot=found.lot,
        lots=found.lots,
        left=found.left,
        least=found.least,
        against=found.against,
        price=found.price,
        accounts=_accounts(found.accounts),
        audience=found.audience,
        expires_ms=found.expires_ms,
        conditions=_conditions(found.conditions),
        root_maker=found.root_maker,
        root=found.root,
        status=found.status,
    )


def deal(named: NamedDeal) -> pb.Deal:
    """A deal with its id."""
    found = named.deal
    return pb.Deal(
        id=named.id,
        seller=found.seller,
        buyer=found.buyer,
        asset=found.asset,
        lot=found.lot,
        lots=found.lots,
        left=found.left,
        against=found.against,
        price=found.price,
        seller_accounts=_accounts(found.seller_accounts),
        buyer_accounts=_accounts(found.buyer_accounts),
        conditions=_conditions(found.conditions),
        seller_held=bool(found.seller_held),
        buyer_held=bool(found.buyer_held),
        cancels=found.cancels,
        linked=found.linked,
        status=found.status,
    )


def cycle(named: NamedCycle) -> pb.Cycle:
    """A settlement cycle with its id."""
    found = named.cycle
    return pb.Cycle(
        id=named.id,
        opener=found.opener,
        model=found.model,
        against=found.against,
        closes_ms=found.closes_ms,
        deal_count=found.deals,
        status=found.status,
    )


def entry(asset: str, found: Entry) -> product_pb2.Entry:
    """An asset's entry on the register."""
    return product_pb2.Entry(
        asset=asset, isin=found.isin, lei=found.lei, terms=_terms(found.terms), registrar=found.registrar
    )


def application(named: NamedApplication) -> product_pb2.Application:
    """An application with the asset that it is for."""
    found = named.application
    return product_pb2.Application(
        asset=named.asset,
        kind=found.kind,
        applicant=found.applicant,
        asset_class=found.asset_class,
        decimals=found.decimals,
        cap=found.cap,
        terms_hash=found.terms_hash,
        isin=found.isin,
        lei=found.lei,
        terms=_terms(found.terms),
        status=found.status,
        reviewer=found.reviewer,
    )


def order(named: NamedOrder) -> product_pb2.Order:
    """A legal order with its reference."""
    found = named.order
    return product_pb2.Order(
        reference=named.reference,
        imposer=found.imposer,
        lifter=found.lifter,
        document_hash=found.document_hash,
        imposed_ms=found.imposed_ms,
        status=found.status,
    )


def action(named: NamedAction) -> product_pb2.Action:
    """An action with its number."""
    found = named.action
    return product_pb2.Action(
        number=named.number,
        kind=found.kind,
        currency=found.currency,
        pays=found.pays,
        per=found.per,
        record_ms=found.record_ms,
        status=found.status,
        outstanding=found.outstanding,
        fixed=found.fixed,
        owed=found.owed,
        paid=found.paid,
        unpaid_claims=found.claims,
    )


def claim(named: NamedClaim) -> product_pb2.Claim:
    """A claim with its holder's account."""
    found = named.claim
    return product_pb2.Claim(
        account=named.account, units=found.units, amount=found.amount, status=found.status
    )


def _accounts(found: Accounts) -> pb.Accounts:
    return pb.Accounts(asset=found.asset, cash=found.cash)


def _conditions(found: Conditions) -> pb.Conditions:
    return pb.Conditions(
        value_ms=found.value_ms,
        due_ms=found.due_ms,
        buy_in_ms=found.buy_in_ms,
        secured=bool(found.secured),
        partial=bool(found.partial),
    )


def _terms(found: Terms) -> product_pb2.Terms:
    return product_pb2.Terms(
        currency=found.currency,
        nominal=found.nominal,
        rate=found.rate,
        day_count=found.day_count,
        starts_ms=found.starts_ms,
        matures_ms=found.matures_ms,
    )
