"""ContractService: every contract by its own description. A new one appears here without a line of code."""

import inspect
from typing import Any, Final

import msgspec

from node.engine.errors import Degraded, NodeError
from node.json_form import JsonRefused, from_json, parse_document
from node.ledger import codec
from node.ledger.contract import Contract, Method
from node.ledger.errors import LedgerError, Rejected
from node.ledger.ledger import Ledger
from node.ledger.types import OPERATIONS_MAX, TRANSACTION_BYTES_MAX, Operation
from node.pb.vostro.contract.v1 import contract_pb2 as pb
from node.pb.vostro.contract.v1 import contract_pb2_grpc
from node.services import convert
from node.services.ports import Call
from node.services.preparing import prepare
from node.services.published import Published
from node.services.schema import arguments_schema

JSON_BYTES_MAX: Final = 4 * TRANSACTION_BYTES_MAX
"""Digits and names take more room than the encoding."""


class ContractService(contract_pb2_grpc.ContractServiceServicer):
    """See proto/vostro/contract/v1."""

    def __init__(self, ledger: Ledger, published: Published) -> None:
        self._ledger = ledger
        self._published = published

    async def ListContracts(self, request: pb.ListContractsRequest, call: Call) -> pb.ListContractsResponse:
        """Every contract of the chain."""
        height, time_ms = self._published.stand()
        readers, active = self._ledger.readers, self._ledger.contracts()
        contracts = [_contract(readers[name], since) for name, since in active.items()]
        return pb.ListContractsResponse(contracts=contracts, height=height, time_ms=time_ms)

    async def GetSchema(self, request: pb.GetSchemaRequest, call: Call) -> pb.GetSchemaResponse:
        """The schema of a method's arguments. Raises Rejected UNKNOWN_METHOD."""
        schema = arguments_schema(
            request.contract, require_method(self._ledger, request.contract, request.method)
        )
        height, time_ms = self._published.stand()
        return pb.GetSchemaResponse(
            schema_json=msgspec.json.encode(schema).decode(), height=height, time_ms=time_ms
        )

    async def PrepareTransaction(
        self, request: pb.PrepareTransactionRequest, call: Call
    ) -> pb.PrepareTransactionResponse:
        """A body to sign. Raises Degraded BAD_REQUEST, Rejected UNKNOWN_METHOD, BAD_ARGUMENTS, BAD_TEXT,
        TOO_LARGE, TOO_MUCH_WORK.
        """
        _check_bounds(request)
        operations = [read_operation(self._ledger, operation) for operation in request.operations]
        body = prepare(self._ledger, request.member, operations, request.request_id, request.valid_until_ms)
        height, time_ms = self._published.stand()
        return pb.PrepareTransactionResponse(**body._asdict(), height=height, time_ms=time_ms)

    async def Query(self, request: pb.QueryRequest, call: Call) -> pb.QueryResponse:
        """A contract's answer. Raises Degraded BAD_REQUEST, Rejected UNKNOWN_METHOD, BAD_ARGUMENTS, or the
        query's own refusals.
        """
        query = require_method(self._ledger, request.contract, request.query)
        if query.writes:
            raise Rejected(LedgerError.UNKNOWN_METHOD, method=f"{request.contract}.{request.query}")
        answer = self._published.ask(
            request.contract, request.query, *_arguments(query, request.arguments_json)
        )
        height, time_ms = self._published.stand()
        return pb.QueryResponse(result_json=convert.json_text(answer), height=height, time_ms=time_ms)


def require_method(ledger: Ledger, contract: str, name: str) -> Method:
    """A method or query of a contract that acts. Raises Rejected UNKNOWN_METHOD."""
    found = ledger.readers.get(contract) if contract in ledger.contracts() else None
    method = (found.methods.get(name) or found.queries.get(name)) if found else None
    if method is None:
        raise Rejected(LedgerError.UNKNOWN_METHOD, method=f"{contract}.{name}")
    return method


def read_operation(ledger: Ledger, operation: pb.Operation) -> Operation:
    """An operation from its JSON. Raises Degraded BAD_REQUEST, Rejected UNKNOWN_METHOD, BAD_ARGUMENTS,
    BAD_TEXT.
    """
    method = require_method(ledger, operation.contract, operation.method)
    if not method.writes:
        raise Rejected(LedgerError.UNKNOWN_METHOD, method=f"{operation.contract}.{operation.method}")
    arguments = codec.encode(_arguments(method, operation.arguments_json))
    method.decode(arguments)
    return Operation(operation.contract, operation.method, arguments)


def _check_bounds(request: pb.PrepareTransactionRequest) -> None:
    """Raises Degraded BAD_REQUEST."""
    if not 1 <= len(request.operations) <= OPERATIONS_MAX:
        raise Degraded(NodeError.BAD_REQUEST, reason=f"a transaction has 1 to {OPERATIONS_MAX} operations")


def _arguments(method: Method, document: str) -> tuple[Any, ...]:
    """The arguments that a JSON object spells. Raises Degraded BAD_REQUEST with the place in the document."""
    try:
        given = parse_document((document or "{}").encode(), JSON_BYTES_MAX)
        if unknown := [name for name in given if name not in method.arguments]:
            raise JsonRefused(f"{unknown[0]} is no argument of {method.name}")
        if missing := [name for name in method.arguments if name not in given]:
            raise JsonRefused(f"{missing[0]} is missing")
        return tuple(
            [from_json(annotation, given[name], name) for name, annotation in method.arguments.items()]
        )
    except JsonRefused as refused:
        raise Degraded(NodeError.BAD_REQUEST, reason=str(refused)) from refused


def _contract(contract: Contract, active: int) -> pb.Contract:
    module = inspect.getmodule(type(contract))
    return pb.Contract(
        name=contract.name,
        sentence=(inspect.getdoc(module) or "").partition("\n")[0],
        activation_height=active,
        methods=[_method(method) for method in contract.methods.values()],
        queries=[_method(query) for query in contract.queries.values()],
        refusals=[
            pb.Refusal(
                code=code.code,
                name=code.name,
                category=convert.CATEGORIES[code.category],
                sentence=code.sentence,
            )
            for code in sorted(contract.errors, key=lambda code: code.code)
        ],
        events=[fact.__name__ for fact in contract.facts],
    )


def _method(method: Method) -> pb.Method:
    names = list(method.arguments)
    return pb.Method(
        name=method.name,
        sentence=method.sentence,
        arguments=names,
        amount_argument=names[method.amount] if method.amount >= 0 else "",
        asset_argument=names[method.asset] if method.asset >= 0 else "",
    )
